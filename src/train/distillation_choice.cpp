#include "train/distillation_choice.hpp"

#include "core/base/check.hpp"
#include "train/weighted_list.hpp"

namespace viaduct {
namespace {

struct Named {
  const char* name;
  double DistillationChoice::*weight;
};
constexpr Named kLosses[] = {{"label", &DistillationChoice::label},
                             {"soft", &DistillationChoice::soft},
                             {"deit_soft", &DistillationChoice::deit_soft},
                             {"deit_hard", &DistillationChoice::deit_hard},
                             {"mse", &DistillationChoice::mse}};

}  // namespace

std::string DistillationChoice::text() const {
  std::string sum;
  for (const Named& n : kLosses)
    if (this->*n.weight > 0) sum += fmt::format("{}{}:{}", sum.empty() ? "" : ", ", n.name, this->*n.weight);
  return soft > 0 || deit_soft > 0 ? fmt::format("{}, temperature {}", sum, temperature) : sum;
}

DistillationChoice choose_distillation(const Config& config) {
  DistillationChoice choice{.temperature = config.task.temperature};
  std::vector<std::string> names;
  for (const Named& n : kLosses) names.push_back(n.name);
  const std::string expected =
      fmt::format("expected a weighted sum of {}, such as label:0.5, soft:0.5", fmt::join(names, ", "));
  for (const auto& [name, weight] : weighted_list(config, "task.losses", config.task.losses, names, expected))
    for (const Named& n : kLosses)
      if (name == n.name) choice.*n.weight = weight;
  if (choice.soft + choice.deit_soft + choice.deit_hard + choice.mse == 0)
    refuse_value(config, "task.losses", config.task.losses,
                 "no loss looks at the teacher; for labels alone use task.name = classification");
  return choice;
}

}  // namespace viaduct
