"""Why a unit fired: the exact graph of direct effects between winners."""
