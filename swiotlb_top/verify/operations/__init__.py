"""The steps of the model: what one call of the kernel did, or what one look at its memory showed."""
