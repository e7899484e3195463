"""Remove the tokens that the task's data never use: their rows in the model, and the tokens in its tokenizer."""
