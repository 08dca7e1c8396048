"""`lwta`: train networks whose units compete, name the units, explain the few that decided. The command line lives here."""
