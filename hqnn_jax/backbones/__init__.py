"""Image backbones in Flax NNX: normalised images in, one feature vector per image out.

Every backbone has a keyword-only constructor with `in_channels`, `dtype` and `rngs`, an integer
`num_features`, and a call from `batch height width channels` to `batch num_features`.
"""
