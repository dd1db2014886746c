// What a student learns from its teacher: task.losses and the keys that go with it.
#pragma once
#include <string>
#include <vector>

#include "models/feature_loss.hpp"
#include "train/config.hpp"

namespace viaduct {

// The weight of every loss; 0: not in the sum. All are means over the batch.
struct DistillationChoice {
  double label = 0;      // cross entropy with the label
  double soft = 0;       // T^2 KL(teacher || student) at temperature T (Hinton et al. 2015)
  double deit_soft = 0;  // the same divided by the number of classes, as facebookresearch/deit computes it
  double deit_hard = 0;  // cross entropy with the teacher's answer (Touvron et al. 2021)
  double mse = 0;        // mean squared difference of the logits
  double feature = 0;    // mean squared difference of what layers give, over tokens, channels and pairs of layers
  double temperature = 1;
  std::vector<LayerPair> layers{};  // of feature
  std::string text() const;         // the same for every spelling
};

// task.layers for models of so many layers.
std::vector<LayerPair> layer_pairs(const Config&, int64_t student, int64_t teacher);

// Of a config whose task.name is distillation, without the layers, which the models decide; a config error says what is
// wrong with it.
DistillationChoice choose_distillation(const Config&);

}  // namespace viaduct
