// Training images that are mixed with others, or partly erased. Each image draws for itself, from its sample's key, so that
// any rank, worker or rerun mixes it alike.
//
// Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) are timm's, mode `elem` (its FastCollateMixup: in pixels, rounded
// to the nearest level). timm takes the other image from the opposite end of a rank's batch; here it is drawn from all
// the data, and augmented as its own epoch shows it, so that neither ranks nor the size of a batch change anything.
#pragma once
#include <cstdint>

#include "data/resize.hpp"

namespace viaduct {

struct MixOptions {
  double mixup = 0, cutmix = 0;                // Beta(a, a); 0: not
  double probability = 1, cutmix_share = 0.5;  // of mixing at all; of CutMix, where both are on
  bool on() const { return mixup > 0 || cutmix > 0; }
};

struct Mix {
  float share = 1;  // of the image's own pixels and label; 1: nothing is mixed in
  bool cut = false;
  Crop box{};  // cut: what the other image fills
};
Mix draw_mix(const MixOptions&, int height, int width, uint64_t key);
// Which sample of `count` is mixed in: the first choice, or a later one where that cannot be read.
int64_t draw_other(int64_t count, int attempt, uint64_t key);
// own, other: [height x width x 3].
void mix_pixels(uint8_t* own, const uint8_t* other, int height, int width, const Mix&);

// Random Erasing (Zhong et al. 2020) as timm's in mode `const`, area (0.02, 1/3), aspect (0.3, 1/0.3): what is erased, or
// an empty box.
Crop draw_erased(double probability, int height, int width, uint64_t key);

// Of Beta(a, a), by the algorithms of numpy's legacy generator: Joehnk's for a <= 1, else two gamma variates.
class RandomSequence;
double draw_beta(RandomSequence&, double a);

}  // namespace viaduct
