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
    trainer     the loop
    allocator   memory kept between steps
    start       from files and options to a running trainer
    processes   several GPUs or machines

Letters: B batch, C channels, K classes, Z, Y, X a window.
"""
