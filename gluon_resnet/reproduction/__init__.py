"""The paper's experiments on a user's data: what to run, what came out, and the report beside the paper's."""
