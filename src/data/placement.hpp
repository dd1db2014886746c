// How large a picture becomes and which part of it the model sees, by the rules of two published pipelines.
#pragma once

namespace viaduct {

// The picture is resized to height x width; the model sees a square whose upper left corner is at (top, left) of that,
// black where it reaches beyond the picture (top or left negative, or the picture too small).
struct Placement {
  int height = 0, width = 0, top = 0, left = 0;
  bool operator==(const Placement&) const = default;
};

// BridgeTowerImageProcessor: the shorter side becomes shortest_edge unless the longer one would pass 1333/800 of it,
// then both are rounded down to a multiple of size_divisor. A side may become 0. See `centred` for the crop.
Placement bridgetower_placement(int height, int width, int shortest_edge, int size_divisor, int crop);

// transformers' centre crop, which puts the larger half of an odd border on the upper and left side.
Placement centred(int height, int width, int crop);

// torchvision's Resize([size]) and CenterCrop(size): the shorter side becomes size, the longer one is truncated.
Placement torchvision_placement(int height, int width, int size);

}  // namespace viaduct
