"""Training: one network for all tasks, as in the paper, and everything around it that must not break.

    plan        what is to be trained and how: the paper's numbers are the defaults
    cases       which cases there are, and which are kept for validation
    cache       cases as the network sees them, prepared once, read through the disk's own cache
    sampler     which windows a step looks at: a pure function of seed and step
    batches     the tensors of a step
    augment     windows turned, blurred, darkened; MONAI does the pixels
    losses      Dice and cross-entropy over the classes of the task
    optimisers  SGD and its falling rate
    run         the run folder: checkpoints that survive a crash, and the curve
    validation  Dice of windows that are never learned from
    preview     one slice that shows how far it is
    trainer     the loop
    tune        adding a task to trained weights
    estimate    what it will cost
    corrected   corrected answers as cases
    interrupts  heard between two steps
    allocator   memory kept between steps
    start       from files and options to a running trainer
    processes   several GPUs or machines

What differs from the original's training: augmentation in three points (see ``augment``); the rate falls with every step
and not every 550; windows around a structure stay inside the image on both sides; validation looks at the same windows
each time; BraTS is normalised over the whole volume, as the original's own prediction does; there is no rescue rule that
draws new weights when nothing was learned by the hundredth epoch.

Letters: B batch, C channels, K classes, Z, Y, X a window.
"""
