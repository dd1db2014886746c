// task.name, taken apart.
#pragma once
#include <string>
#include <vector>

#include "train/config.hpp"

namespace viaduct {

// The weight of every loss of an image-text model; 0: not learnt. All zero: classification.
struct TaskChoice {
  double itm = 0, itc = 0, mlm = 0;
  bool distils = false;  // from task.teacher: what is learnt beside that is what the rest says
  bool classifies() const { return itm == 0 && itc == 0 && mlm == 0; }
  int losses() const { return (itm > 0) + (itc > 0) + (mlm > 0); }
  std::string first;         // as it was named first: it gives the exported architecture and what predict does
  std::string text() const;  // as task.name would say it, the same for every spelling; of a student what it becomes
};

// Of task.name and the keys that go with it; a config error says what is wrong with them.
TaskChoice choose_task(const Config&);

struct FrozenTowers {
  bool text = false, vision = false, cross = false;
  std::string names() const;  // as task.freeze would say it, the same for every spelling
};
FrozenTowers frozen_towers(const Config&);  // task.freeze

}  // namespace viaduct
