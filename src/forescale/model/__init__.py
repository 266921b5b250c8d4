"""The paper's transformer, what it is trained on, and its weights as others read them."""
