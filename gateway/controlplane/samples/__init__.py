"""Which requests are kept and how they are masked, and the deletion of what was kept."""
