"""The ground floor: errors, shapes, records, the recipe, artifacts. Nothing here imports another room."""
