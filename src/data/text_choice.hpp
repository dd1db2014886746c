// Which text a sample comes with in an epoch, and which one is judged beside its image: pure functions of the sample
// and its key, so that every rank knows those of all.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace viaduct {

class TextChoice {
 public:
  struct Text {
    int64_t sample = 0, index = 0;  // among texts(sample)
    bool operator==(const Text&) const = default;
  };
  struct Judged {
    Text text;
    int32_t matches = 0;  // 1: it belongs to the image
  };

  // first_only: of several texts always the first, none is drawn. pairs: judged() will be asked for.
  TextChoice(DatasetPtr, bool first_only, bool pairs);

  Text own(int64_t sample, uint64_t key) const;
  // Where the data says what matches, its own text. Else that, or with probability 1/2 one of another image: any, but
  // not word for word one of its own where there is another.
  Judged judged(int64_t sample, uint64_t key) const;
  const std::string& words(Text text) const { return data_->texts(text.sample).at(size_t(text.index)); }

 private:
  DatasetPtr data_;
  bool first_only_;
  std::vector<int32_t> images_;  // a number for the picture of every sample; empty where none is drawn
};

}  // namespace viaduct
