#include "data/dataset.hpp"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <tuple>

#include "core/base/check.hpp"
#include "core/base/log.hpp"
#include "core/base/philox.hpp"
#include "data/image_files.hpp"
#include "data/image_texts.hpp"

namespace viaduct {
namespace fs = std::filesystem;
namespace {

// Some samples of another dataset, in its order.
class Subset : public Dataset {
 public:
  Subset(DatasetPtr whole, std::vector<int64_t> indices) : whole_(std::move(whole)), indices_(std::move(indices)) {}
  int64_t size() const override { return int64_t(indices_.size()); }
  std::string id(int64_t i) const override { return whole_->id(indices_.at(size_t(i))); }
  std::vector<uint8_t> read(int64_t i) const override { return whole_->read(indices_.at(size_t(i))); }
  bool has_labels() const override { return whole_->has_labels(); }
  int32_t label(int64_t i) const override { return whole_->label(indices_.at(size_t(i))); }
  const std::vector<std::string>& classes() const override { return whole_->classes(); }
  bool has_text() const override { return whole_->has_text(); }
  const std::vector<std::string>& texts(int64_t i) const override { return whole_->texts(indices_.at(size_t(i))); }
  std::string image(int64_t i) const override { return whole_->image(indices_.at(size_t(i))); }
  int64_t line(int64_t i) const override { return whole_->line(indices_.at(size_t(i))); }

 private:
  DatasetPtr whole_;
  std::vector<int64_t> indices_;
};

uint64_t split_draw(const std::string& id) {
  RandomSequence draws(XXH3_64bits(id.data(), id.size()), Draw::split);
  uint64_t high = draws.bits();
  return high << 32 | draws.bits();
}

// Of n: at least one, and never all.
int64_t held_of(int64_t n, double fraction) {
  return n > 1 ? std::clamp<int64_t>(std::llround(double(n) * fraction), 1, n - 1) : 0;
}

TrainEval divide(const DatasetPtr& whole, std::vector<int64_t> train, std::vector<int64_t> eval) {
  std::sort(train.begin(), train.end());
  std::sort(eval.begin(), eval.end());
  log::info("{} samples held out of training for evaluation, {} remain", eval.size(), train.size());
  return {std::make_shared<Subset>(whole, std::move(train)), std::make_shared<Subset>(whole, std::move(eval))};
}

TrainEval hold_out(const DatasetPtr& whole, double fraction) {
  std::vector<std::vector<std::tuple<uint64_t, std::string, int64_t>>> by_class(whole->classes().size());
  for (int64_t i = 0; i < whole->size(); ++i) {
    std::string id = whole->id(i);
    by_class[size_t(whole->label(i))].emplace_back(split_draw(id), id, i);
  }
  std::vector<int64_t> train, eval;
  for (auto& members : by_class) {
    std::sort(members.begin(), members.end());
    const int64_t n = int64_t(members.size()), held = held_of(n, fraction);
    for (int64_t i = 0; i < n; ++i) (i < held ? eval : train).push_back(std::get<2>(members[size_t(i)]));
  }
  if (eval.empty())
    fail_config(fmt::format("data.eval = {}: no class has two images, so none can be held out of training", fraction));
  return divide(whole, std::move(train), std::move(eval));
}

// All samples of an image stay on one side.
TrainEval hold_out_images(const DatasetPtr& whole, double fraction) {
  std::set<std::pair<uint64_t, std::string>> images;
  for (int64_t i = 0; i < whole->size(); ++i) {
    std::string image = whole->image(i);
    images.emplace(split_draw(image), std::move(image));
  }
  const int64_t held = held_of(int64_t(images.size()), fraction);
  if (!held)
    fail_config(fmt::format("data.eval = {}: there is a single image, so none can be held out of training", fraction));
  const uint64_t last = std::next(images.begin(), held - 1)->first;
  std::vector<int64_t> train, eval;
  for (int64_t i = 0; i < whole->size(); ++i) (split_draw(whole->image(i)) <= last ? eval : train).push_back(i);
  return divide(whole, std::move(train), std::move(eval));
}

std::optional<double> as_number(const std::string& text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

void expect_folder(const std::string& folder) {
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) fail_input(fmt::format("the image folder '{}' does not exist", folder));
  if (!fs::is_directory(folder, ignored))
    fail_input(fmt::format("'{}' is not a folder: expected one with a folder per class, or with labels.csv", folder));
}

// A folder of splits is the commonest mistake: its "classes" would be train and val.
void expect_classes(const Dataset& data, const std::string& folder) {
  const auto& names = data.classes();
  auto has = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  if (has("train") && (has("val") || has("test") || has("eval") || has("validation") || has("valid")))
    fail_config(
        fmt::format("'{0}' holds a folder per split, not per class: set data.train = {0}/train and data.eval to "
                    "the other one",
                    folder));
  if (names.size() < 2)
    fail_input(fmt::format("'{}' holds the single class '{}': expected at least two, each in a folder of its own",
                           folder, names.front()));
}

// data.eval as a fraction held out of training.
std::optional<double> as_fraction(const std::string& eval) {
  const auto fraction = as_number(eval);
  if (fraction && !(*fraction > 0 && *fraction < 1))
    fail_config(fmt::format("data.eval = {}: a fraction held out of training lies between 0 and 1", eval));
  return fraction;
}

}  // namespace

const std::vector<std::string>& Dataset::texts(int64_t) const {
  static const std::vector<std::string> none;
  return none;
}

DatasetPtr open_labelled(const std::string& folder, Split split, const std::vector<std::string>& classes) {
  expect_folder(folder);
  std::error_code ignored;
  return fs::exists(fs::path(folder) / "labels.csv", ignored) ? open_labels_csv(folder, split, classes)
                                                              : open_class_folders(folder, classes);
}

DatasetPtr open_unlabelled(const std::vector<std::string>& paths) {
  auto files = std::make_shared<ImageFiles>();
  std::error_code ignored;
  for (const std::string& path : paths) {
    if (!fs::exists(path, ignored)) fail_input(fmt::format("'{}' does not exist", path));
    if (!fs::is_directory(path, ignored)) {
      files->paths.push_back(path);
      continue;
    }
    FolderListing listing = list_images(path);
    if (listing.images.empty()) fail_input(fmt::format("'{}' holds no .jpg, .jpeg, .png or .webp files", path));
    if (listing.others) log::info("{}: {} files that are not images ignored", path, listing.others);
    const std::string prefix = (fs::path(path) / "").string();
    if (paths.size() == 1) files->root = prefix;  // ids are then relative to the one folder
    for (std::string& image : listing.images) files->paths.push_back(paths.size() == 1 ? image : prefix + image);
  }
  if (files->paths.empty()) fail_input("no image was given: expected a folder or image files");
  return files;
}

TrainEval open_train_eval(const std::string& train, const std::string& eval) {
  const auto fraction = as_fraction(eval);
  DatasetPtr all = open_labelled(train, Split::train);
  expect_classes(*all, train);
  if (fraction) return hold_out(all, *fraction);
  if (eval.empty()) return {all, nullptr};
  return {all, open_labelled(eval, Split::eval, all->classes())};
}

TrainEval open_text_train_eval(const std::string& train, const std::string& eval, int64_t max_bad) {
  const auto fraction = as_fraction(eval);
  std::error_code ignored;
  const bool same = !eval.empty() && !fraction && fs::equivalent(train, eval, ignored);
  TextRows rows = usable_rows(read_text_rows(train), max_bad);
  if (same && rows.rows.front().split.empty())
    log::warn("data.train and data.eval are the same {} rows: they have no split", rows.rows.size());
  DatasetPtr held = same ? make_image_texts(rows, Split::eval) : nullptr;
  DatasetPtr all = make_image_texts(std::move(rows), Split::train);
  if (fraction) return hold_out_images(all, *fraction);
  if (!same && !eval.empty()) held = open_texts(eval, Split::eval, max_bad);
  return {all, held};
}

}  // namespace viaduct
