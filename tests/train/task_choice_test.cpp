// task.name and the keys that go with it.
#include "train/task_choice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/messages.hpp"

namespace viaduct {
namespace {

using test::message_of;
using testing::HasSubstr;
using Settings = std::vector<std::pair<std::string, std::string>>;

Config config_of(const Settings& settings) {
  Config config;
  for (const auto& [key, value] : settings) set(config, key, value, "command line");
  return config;
}
TaskChoice chosen(const std::string& name) { return choose_task(config_of({{"task.name", name}})); }
std::string refusal(const Settings& settings) {
  return message_of([&] { choose_task(config_of(settings)), frozen_towers(config_of(settings)); }, Exit::config);
}

TEST(TaskChoice, ClassifiesUnlessToldOtherwise) {
  for (const TaskChoice& c : {choose_task(Config()), chosen("classification")}) {
    EXPECT_TRUE(c.classifies());
    EXPECT_EQ(c.losses(), 0);
    EXPECT_EQ(c.first, "");
  }
}

TEST(TaskChoice, ReadsSums) {
  struct Row {
    const char* name;
    double itm, itc, mlm;
    const char* first;
  };
  for (const Row& row : std::vector<Row>{{"itm", 1, 0, 0, "itm"},
                                         {"mlm:2", 0, 0, 2, "mlm"},
                                         {"itm:1, mlm:1, itc:0.5", 1, 0.5, 1, "itm"},
                                         {"itc:0.25,itm", 1, 0.25, 0, "itc"},
                                         {" mlm:1e-3 ,  itm:3 ", 3, 0, 1e-3, "mlm"}}) {
    TaskChoice c = chosen(row.name);
    EXPECT_EQ(c.itm, row.itm) << row.name;
    EXPECT_EQ(c.itc, row.itc) << row.name;
    EXPECT_EQ(c.mlm, row.mlm) << row.name;
    EXPECT_EQ(c.first, row.first) << row.name;
    EXPECT_EQ(c.losses(), (row.itm > 0) + (row.itc > 0) + (row.mlm > 0)) << row.name;
    EXPECT_FALSE(c.classifies());
  }
}

TEST(TaskChoice, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"itn", "task.name = 'itn' (command line): expected classification, distillation, itm, itc or mlm, or a sum"},
      {"itn", "did you mean itm?"},
      {"clasification", "did you mean classification?"},
      {"itm, clip", "expected classification, distillation, itm, itc or mlm"},
      {"itm, classification", "expected classification, distillation, itm, itc or mlm"},
      {"itm,", "expected classification, distillation, itm, itc or mlm"},
      {"", "expected classification, distillation, itm, itc or mlm"},
      {"itm:1, itm:2", "itm is named twice"},
      {"itm:0", "expected a weight above 0 after the colon of 'itm:0'"},
      {"itm:1, mlm:-1", "expected a weight above 0 after the colon of 'mlm:-1'"},
      {"itm:", "expected a weight above 0"},
      {"itm:much", "expected a weight above 0"},
      {"itm:1x", "expected a weight above 0"},
      {"itm:nan", "expected a weight above 0"},
      {"itm:inf", "expected a weight above 0"},
      {"itm:1:2", "expected a weight above 0"},
      {"distilation", "did you mean distillation?"},
  };
  for (const auto& [name, sentence] : names) EXPECT_THAT(refusal({{"task.name", name}}), HasSubstr(sentence)) << name;
  EXPECT_THAT(refusal({{"task.name", "qqqqqqqqqqqq"}}), testing::Not(HasSubstr("did you mean")));
}

TEST(TaskChoice, NegativesNeedTheirLosses) {
  EXPECT_THAT(refusal({{"task.name", "itm"}, {"task.itm_negatives", "hard"}}),
              HasSubstr("task.itm_negatives = 'hard' (command line): needs itm and itc in task.name"));
  EXPECT_THAT(refusal({{"task.name", "itc, mlm"}, {"task.itm_negatives", "hard"}}), HasSubstr("needs itm and itc"));
  EXPECT_THAT(refusal({{"task.name", "itm, mlm"}, {"task.negatives", "global"}}),
              HasSubstr("task.negatives = 'global' (command line): needs itc in task.name"));
  EXPECT_THAT(refusal({{"task.negatives", "global"}}), HasSubstr("needs itc"));
  EXPECT_NO_THROW(choose_task(
      config_of({{"task.name", "itm, itc"}, {"task.itm_negatives", "hard"}, {"task.negatives", "global"}})));
}

TEST(TaskChoice, TheBestMetricIsOneThatTheTaskHas) {
  auto with = [](const char* task, const char* best) {
    return Settings{{"task.name", task}, {"run.best", best}, {"data.eval", "0.1"}};
  };
  for (const char* task : {"classification", "itm", "mlm", "itc, itm"})
    EXPECT_NO_THROW(choose_task(config_of(with(task, "eval_accuracy")))) << task;
  EXPECT_NO_THROW(choose_task(config_of(with("itc", "eval_image_to_text_recall@1"))));
  for (const char* task : {"itc", "itc, mlm"})
    EXPECT_THAT(refusal(with(task, "eval_accuracy")), HasSubstr("has no accuracy; use eval_loss")) << task;
  EXPECT_THAT(refusal({{"task.name", "itc"}, {"train.batch_size", "1"}}), HasSubstr("a larger batch"));
  EXPECT_NO_THROW(
      choose_task(config_of({{"task.name", "itc"}, {"train.batch_size", "1"}, {"task.negatives", "global"}})));
  EXPECT_THAT(refusal(with("itm", "eval_text_to_image_recall@1")), HasSubstr("recall is measured with itc"));
}

TEST(TaskChoice, OnlyAClassifierHasLabelsToMix) {
  for (const char* key : {"augment.mixup", "augment.cutmix", "augment.label_smoothing"}) {
    EXPECT_NO_THROW(choose_task(config_of({{key, "0.25"}})));
    EXPECT_THAT(refusal({{"task.name", "itm"}, {key, "0.25"}}),
                HasSubstr(std::string(key) + " = '0.25' (command line): is for task.name = classification"));
  }
}

TEST(TaskChoice, HasOneTextForAllSpellings) {
  for (const char* name : {"itm:1, itc:0.5", "itm,itc:0.5", " itm:1.0 , itc:5e-1"})
    EXPECT_EQ(chosen(name).text(), "itm:1, itc:0.5") << name;
  EXPECT_EQ(chosen("mlm, itm:2").text(), "mlm:1, itm:2");  // the first gives the architecture
  EXPECT_EQ(chosen(chosen("mlm, itm:2").text()).text(), "mlm:1, itm:2");
  EXPECT_EQ(chosen("classification").text(), "classification");
  for (const char* towers : {"vision,text", "text, vision"})
    EXPECT_EQ(frozen_towers(config_of({{"task.name", "itm"}, {"task.freeze", towers}})).names(), "text, vision");
}

TEST(TaskChoice, FreezesTowers) {
  auto frozen = [](const std::string& words) {
    FrozenTowers f = frozen_towers(config_of({{"task.name", "itm"}, {"task.freeze", words}}));
    return std::vector<bool>{f.text, f.vision, f.cross};
  };
  EXPECT_EQ(frozen(""), (std::vector<bool>{false, false, false}));
  EXPECT_EQ(frozen("text"), (std::vector<bool>{true, false, false}));
  EXPECT_EQ(frozen("cross , vision"), (std::vector<bool>{false, true, true}));
  EXPECT_EQ(frozen("text,vision,cross"), (std::vector<bool>{true, true, true}));
  EXPECT_THAT(refusal({{"task.name", "itm"}, {"task.freeze", "text, heads"}}),
              HasSubstr("task.freeze = 'text, heads' (command line): expected a list of text, vision and cross, found "
                        "'heads'"));
  EXPECT_THAT(refusal({{"task.name", "itm"}, {"task.freeze", "text,"}}), HasSubstr("found ''"));
  EXPECT_THAT(refusal({{"task.freeze", "text"}}), HasSubstr("only the towers of an image-text model can be frozen"));
}

}  // namespace
}  // namespace viaduct
