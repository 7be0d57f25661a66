"""The UniSeg network: its description (without torch) and, in ``uniseg``, the network itself."""
