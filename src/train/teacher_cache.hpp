// What a teacher has answered, on disk, so that it need not be asked again: in later epochs, by later runs, by other
// ranks. A folder of HDF5 files, each written once and whole by one rank; everybody reads all of them.
//
// A record is found by sample and augmentation counter, and counts only if it was made from the very pixels: it holds
// their hash, and a hash of itself. What is damaged or stale is asked again. Files of another teacher, other data or
// other settings are an error.
#pragma once
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/batch.hpp"
#include "data/hdf5_table.hpp"

namespace viaduct {

// How much of an answer is kept.
struct StoredAnswer {
  DType dtype = DType::f32;  // or bf16: what the teacher computes in bf16 is kept exactly either way
  int64_t top_k = 0;         // only so many of the largest logits; the rest share what probability is left. 0: all
};

class TeacherCache {
 public:
  // `about`: everything that decides the answers, as text. Opens what is there; a config error says what differs.
  // `counted`: pixels depend on the epoch (Batch::keys), not on the sample alone.
  TeacherCache(const Path& folder, const std::string& about, int64_t classes, StoredAnswer, bool counted);
  ~TeacherCache();  // flushes; what cannot be written then is a warning

  // Fills answers [B, classes] fp32 in host memory for a batch in host memory if all of them are there.
  bool find(const Batch&, Tensor answers);
  // Takes them in, and gives them back as find() would: rounded and cut as they are stored.
  void add(const Batch&, Tensor answers);
  void flush();  // to a new file that the others see

  int64_t found() const { return found_; }  // rows so far
  int64_t asked() const { return asked_; }

 private:
  struct Key {
    int64_t sample, counter;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const { return size_t(k.sample * 0x9E3779B97F4A7C15 + k.counter); }
  };
  struct Place {
    size_t file;
    int64_t row;
  };
  struct Record {
    uint64_t pixels = 0, hash = 0;  // of the pixels; of all else
    std::vector<float> values;      // as many as width()
    std::vector<int32_t> classes;   // of the first top_k values, where not all are kept
  };

  int64_t width() const { return stored_.top_k ? stored_.top_k + 1 : classes_; }
  Key key_of(const Batch&, int64_t row) const;
  uint64_t hash_of(const Key&, const Record&) const;
  Record record_of(const float* logits, uint64_t pixels) const;
  void expand(const Record&, float* logits) const;
  bool read(const Key&, uint64_t pixels, Record&);
  void look_for_files();

  Path folder_;
  std::string about_;
  int64_t classes_;
  StoredAnswer stored_;
  bool counted_;
  std::map<std::string, bool> known_;  // names of files; false: damaged
  std::vector<Hdf5File> files_;
  std::unordered_map<Key, Place, KeyHash> places_;
  std::vector<std::pair<Key, Record>> pending_;
  std::unordered_map<Key, size_t, KeyHash> pending_at_;
  int64_t found_ = 0, asked_ = 0, warned_ = 0;
};

}  // namespace viaduct
