"""The paper's experiments on a user's data: what to run, the results, and a report that compares them."""
