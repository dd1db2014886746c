// Image files on disk, labelled or not: what every source of single images becomes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace viaduct {

struct ImageFiles : Dataset {
  std::string root;                // in front of every path; empty or ending in a slash
  std::vector<std::string> paths;  // also the ids
  std::vector<int32_t> labels;     // one per path, or empty
  std::vector<std::string> names;  // of the classes

  int64_t size() const override { return int64_t(paths.size()); }
  std::string id(int64_t i) const override { return paths.at(size_t(i)); }
  std::vector<uint8_t> read(int64_t i) const override;
  bool has_labels() const override { return !labels.empty(); }
  int32_t label(int64_t i) const override { return labels.at(size_t(i)); }
  const std::vector<std::string>& classes() const override { return names; }
};

// The whole of a regular file; an input error, without the path, where that fails.
std::vector<uint8_t> read_file(const std::string& path);

// Paths of the images below a folder, relative to it, in byte order. Hidden files and folders are passed over.
struct FolderListing {
  std::vector<std::string> images;
  int64_t others = 0;  // files that are not called .jpg, .jpeg, .png or .webp
};
FolderListing list_images(const std::string& folder);

// The rows of folder/labels.csv, and the images of folder/<class>/; see open_labelled().
DatasetPtr open_labels_csv(const std::string& folder, Split, const std::vector<std::string>& classes);
DatasetPtr open_class_folders(const std::string& folder, const std::vector<std::string>& classes);

// Turns class names into indices and checks them; `where` says for each sample where its name stands.
void assign_labels(ImageFiles&, const std::vector<std::string>& label_names, const std::vector<std::string>& classes,
                   const std::string& source);

}  // namespace viaduct
