"""The napari plugin: segment where people already look at images.

    napari.yaml   what napari is told: commands, menus, widgets, reader, writer, samples, preferences
    world         where a volume stands among napari's axes, and back        reader, writer, samples   files and layers
    layers        layers of any reader as one volume                        desk                       what one viewer's panels share
    segment       the Segment panel, put together from its boxes            results, answers           what a run leaves in the viewer

Only public names of napari are used. Whatever takes time is a job of the desk; a panel looks at it, and never waits.
"""
