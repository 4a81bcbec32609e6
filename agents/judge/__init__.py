"""A language model as a verification rule: asked after the batch, once a delivery, within a budget."""
