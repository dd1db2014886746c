// Where samples come from: a folder per class, a folder with labels.csv, files without labels, or a file of images with
// texts.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
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

  // Images with texts. A sample with a label has one text, and the label is 1 where it belongs to the image, else 0.
  virtual bool has_text() const { return false; }
  virtual const std::vector<std::string>& texts(int64_t) const;         // at least one
  virtual std::string image(int64_t i) const { return id(i); }          // its path: samples of one picture share it
  virtual int64_t line([[maybe_unused]] int64_t i) const { return 0; }  // in the file that lists it, from 1; 0: in none
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

// Images with texts: a .jsonl file, or a folder with captions.jsonl, metadata.jsonl or pairs.jsonl. A line is an object
// with `image` or `file_name`, a path below the file's folder; `captions`, `caption` or `text`, one text or a list; and
// perhaps a `label` 0 or 1 and a `split`, which picks the rows as in labels.csv, in every line or in none. A row that
// breaks these rules is named and left out; more than `max_bad` of them (-1: 1 % of all, at least 10) are an error.
DatasetPtr open_texts(const std::string& path, Split, int64_t max_bad = -1);

// The same for predict: every row (of the split), in line order. What is wrong with one is said by read().
DatasetPtr open_text_rows(const std::string& path, std::optional<Split> split = {});

// data.train and data.eval as in open_train_eval; a fraction counts images, and all rows of an image stay together.
TrainEval open_text_train_eval(const std::string& train, const std::string& eval, int64_t max_bad = -1);

}  // namespace viaduct
