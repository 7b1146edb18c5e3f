"""Named mathematics that several families share. Architecture is not shared: each family's file has its own."""
