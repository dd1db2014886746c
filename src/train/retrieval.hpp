// Image-text retrieval: of all texts, is that of an image among the k most similar, and the other way round.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace viaduct {

// Unit vectors of an evaluation, of this rank's samples. Rows of one image (equal `images`) belong together: every text
// of it is right for it.
class Retrieval {
 public:
  explicit Retrieval(int64_t width = 0) : width_(width) {}
  void add(const std::string& image, const float* text_vector, const float* image_vector);
  int64_t size() const { return int64_t(images_.size()); }

  // Collective: recall@1, 5 and 10 over the samples of all ranks, as "eval_text_to_image_recall@1",
  // "eval_image_to_text_recall@1" .. Ties count against. Forgets the samples.
  std::map<std::string, double> recalls(Communicator&);

 private:
  int64_t width_;
  std::vector<std::string> images_;
  std::vector<float> texts_, pictures_;  // [size, width] each
};

}  // namespace viaduct
