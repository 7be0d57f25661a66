"""What a prompt does: the learned ones, those that this image makes of them, and what changes when one is replaced.

learned     the universal prompt           sets        prompts side by side          similarity   matrix, clusters, plane
maps        this image's task prompts      stitch      windows to one volume         saliency     gradients
changes     what a prompt is replaced with     whatif      before and after

``Session.prompt_maps``, ``Session.what_if`` and ``Session.saliency`` are the ways in.
"""

from __future__ import annotations
