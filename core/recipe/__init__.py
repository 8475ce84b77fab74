"""The schema that composes what the rooms declare, and how a recipe file becomes one."""
