"""The leaderboard page: dated snapshots of scores as one table, charts, and what a report claimed of them."""
