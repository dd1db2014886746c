// Where samples come from: a folder per class, a folder with labels.csv, or files without labels.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace viaduct {

// Immutable once opened; every method may be called from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual std::string id(int64_t i) const = 0;             // path relative to the dataset, as reports show it
  virtual std::vector<uint8_t> read(int64_t i) const = 0;  // the whole file; an input error where it cannot be read
  virtual bool has_labels() const = 0;
  virtual int32_t label(int64_t i) const = 0;                   // index into classes()
  virtual const std::vector<std::string>& classes() const = 0;  // sorted by name; empty without labels
};
using DatasetPtr = std::shared_ptr<const Dataset>;

enum class Split { train, eval };

// A folder per class, or a folder with labels.csv, whose `split` column then picks the rows. `classes` are those of a
// model or of the training data: a label that is not among them is an error. Empty: the classes found here.
DatasetPtr open_labelled(const std::string& folder, Split, const std::vector<std::string>& classes = {});

// Files to predict: a folder (searched in depth, in byte order of the relative path) or single image files.
DatasetPtr open_unlabelled(const std::vector<std::string>& paths);

struct TrainEval {
  DatasetPtr train, eval;  // eval is null where none was asked for
};
// data.train and data.eval, where `eval` is a folder, a fraction in (0, 1) held out of train, or empty.
// Held out of a class of n are round(n x fraction) samples, at least one and never all where n > 1: those with the
// smallest Philox draws keyed by their ids. So the choice depends on no seed, and not on the other files.
TrainEval open_train_eval(const std::string& train, const std::string& eval);

}  // namespace viaduct
