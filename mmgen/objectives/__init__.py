"""What several methods minimise, one family of losses a module."""
