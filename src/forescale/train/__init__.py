"""Training: loop, optimizer, schedule, parallelism, checkpoints, speed. Nothing above `worker` sees its inside."""
