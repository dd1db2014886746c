#include "data/each_text.hpp"

namespace viaduct {
namespace {

// Samples of another dataset, each with one of its texts.
class ChosenTexts final : public Dataset {
 public:
  struct Choice {
    int64_t sample;
    std::vector<std::string> text;
  };
  ChosenTexts(DatasetPtr whole, std::vector<Choice> chosen, bool with_labels)
      : whole_(std::move(whole)), chosen_(std::move(chosen)), with_labels_(with_labels) {}
  int64_t size() const override { return int64_t(chosen_.size()); }
  std::string id(int64_t i) const override { return whole_->id(at(i).sample); }
  std::vector<uint8_t> read(int64_t i) const override { return whole_->read(at(i).sample); }
  bool has_labels() const override { return with_labels_; }
  int32_t label(int64_t i) const override { return whole_->label(at(i).sample); }
  const std::vector<std::string>& classes() const override { return whole_->classes(); }
  bool has_text() const override { return true; }
  const std::vector<std::string>& texts(int64_t i) const override { return at(i).text; }
  std::string image(int64_t i) const override { return whole_->image(at(i).sample); }
  int64_t line(int64_t i) const override { return whole_->line(at(i).sample); }

 private:
  const Choice& at(int64_t i) const { return chosen_.at(size_t(i)); }
  DatasetPtr whole_;
  std::vector<Choice> chosen_;
  bool with_labels_;
};

}  // namespace

DatasetPtr each_text(DatasetPtr data) {
  std::vector<ChosenTexts::Choice> all;
  for (int64_t i = 0; i < data->size(); ++i)
    for (const std::string& text : data->texts(i)) all.push_back({i, {text}});
  if (int64_t(all.size()) == data->size()) return data;
  bool labels = data->has_labels();
  return std::make_shared<ChosenTexts>(std::move(data), std::move(all), labels);
}

DatasetPtr matching_pairs(DatasetPtr data) {
  if (!data || !data->has_labels()) return data;
  std::vector<ChosenTexts::Choice> matching;
  for (int64_t i = 0; i < data->size(); ++i)
    if (data->label(i) == 1) matching.push_back({i, data->texts(i)});
  return std::make_shared<ChosenTexts>(std::move(data), std::move(matching), false);
}

}  // namespace viaduct
