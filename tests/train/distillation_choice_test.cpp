// task.losses and the keys of distillation.
#include "train/distillation_choice.hpp"

#include <gmock/gmock.h>

#include "tests/train/runs.hpp"
#include "train/task_choice.hpp"

namespace viaduct::test {
namespace {

using testing::HasSubstr;

DistillationChoice chosen(const Settings& settings) { return choose_distillation(config_of(settings)); }

TEST(DistillationChoice, IsHintonsSumUnlessToldOtherwise) {
  const DistillationChoice c = chosen({});
  EXPECT_EQ(c.label, 0.5);
  EXPECT_EQ(c.soft, 0.5);
  EXPECT_EQ(c.temperature, 5);
  EXPECT_EQ(c.text(), "label:0.5, soft:0.5, temperature 5");
}

TEST(DistillationChoice, ReadsSums) {
  const DistillationChoice c = chosen({{"task.losses", "mse:2, deit_hard ,label:0.25"}, {"task.temperature", "3"}});
  EXPECT_EQ(c.mse, 2);
  EXPECT_EQ(c.deit_hard, 1);
  EXPECT_EQ(c.label, 0.25);
  EXPECT_EQ(c.soft, 0);
  EXPECT_EQ(c.text(), "label:0.25, deit_hard:1, mse:2");
  EXPECT_EQ(chosen({{"task.losses", "deit_soft"}, {"task.temperature", "1"}}).text(), "deit_soft:1, temperature 1");
}

TEST(DistillationChoice, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"softt", "task.losses = 'softt' (test): expected a weighted sum of label, soft, deit_soft, deit_hard, mse"},
      {"softt", "did you mean soft?"},
      {"soft:1, soft:2", "soft is named twice"},
      {"soft:0", "expected a weight above 0 after the colon of 'soft:0'"},
      {"soft:inf", "expected a weight above 0"},
      {"", "expected a weighted sum"},
      {"label:1", "no loss looks at the teacher; for labels alone use task.name = classification"},
  };
  for (const auto& [losses, sentence] : wrong)
    EXPECT_THAT(message_of([&] { chosen({{"task.losses", losses}}); }, Exit::config), HasSubstr(sentence)) << losses;
  EXPECT_THAT(message_of([&] { chosen({{"task.temperature", "0"}}); }, Exit::config), HasSubstr("a number above 0"));
}

TEST(DistillationChoice, ItsKeysNeedItsTask) {
  for (const auto& [key, value] :
       Settings{{"task.teacher", "big"}, {"task.losses", "soft"}, {"task.temperature", "2"}}) {
    const Config config = config_of({{key, value}});
    EXPECT_EQ(message_of([&] { choose_task(config); }, Exit::config),
              fmt::format("{} = '{}' (test): needs task.name = distillation", key, value));
    EXPECT_NO_THROW(choose_task(config_of({{key, value}, {"task.name", "distillation"}})));
  }
  EXPECT_TRUE(choose_task(config_of({{"task.name", "distillation"}})).distils);
}

}  // namespace
}  // namespace viaduct::test
