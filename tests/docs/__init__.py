"""The pages of docs/ say what is true: their snippets run."""
