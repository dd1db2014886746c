#include "data/image_files.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <unordered_map>

#include "core/base/check.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kLargestFile = 1ll << 30;
constexpr int kDeepestFolder = 32;  // deeper than this, links lead in a circle

bool has_image_name(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp";
}

bool is_hidden(const fs::path& path) { return path.filename().native().starts_with('.'); }

}  // namespace

std::vector<uint8_t> read_file(const std::string& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) fail_input(fmt::format("cannot be opened: {}", std::strerror(errno)));
  struct stat status {};
  if (::fstat(::fileno(file.get()), &status) != 0) fail_input(fmt::format("cannot be read: {}", std::strerror(errno)));
  if (!S_ISREG(status.st_mode)) fail_input("is not a regular file");
  if (status.st_size > kLargestFile) fail_input(fmt::format("has {} bytes; no picture is that large", status.st_size));
  std::setvbuf(file.get(), nullptr, _IONBF, 0);
  std::vector<uint8_t> bytes(size_t(status.st_size));
  size_t got = std::fread(bytes.data(), 1, bytes.size(), file.get());
  if (std::ferror(file.get())) fail_input(fmt::format("cannot be read: {}", std::strerror(errno)));
  bytes.resize(got);
  return bytes;
}

std::vector<uint8_t> ImageFiles::read(int64_t i) const { return read_file(root + paths.at(size_t(i))); }

FolderListing list_images(const std::string& folder) try {
  FolderListing listing;
  constexpr auto options = fs::directory_options::follow_directory_symlink;
  for (auto it = fs::recursive_directory_iterator(folder, options); it != fs::recursive_directory_iterator(); ++it) {
    if (it.depth() > kDeepestFolder)
      fail_input(fmt::format("{}: more than {} folders deep; does a link lead in a circle?", it->path().string(),
                             kDeepestFolder));
    if (is_hidden(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      if (has_image_name(it->path()))
        listing.images.push_back(it->path().lexically_relative(folder).string());
      else
        ++listing.others;
    }
  }
  std::sort(listing.images.begin(), listing.images.end());
  return listing;
} catch (const fs::filesystem_error& e) {
  fail_input(fmt::format("the image folder '{}' cannot be listed: {}", folder, e.what()));
}

void assign_labels(ImageFiles& files, const std::vector<std::string>& label_names,
                   const std::vector<std::string>& classes, const std::string& source) {
  files.names = classes;
  if (classes.empty()) {
    std::set<std::string> found(label_names.begin(), label_names.end());
    files.names.assign(found.begin(), found.end());
  }
  std::unordered_map<std::string, int32_t> index;
  for (size_t i = 0; i < files.names.size(); ++i) index.emplace(files.names[i], int32_t(i));
  files.labels.reserve(label_names.size());
  for (size_t i = 0; i < label_names.size(); ++i) {
    auto found = index.find(label_names[i]);
    if (found == index.end())
      fail_input(fmt::format(
          "{}: the label '{}' of '{}' is not one of the {} classes that the model is trained on "
          "('{}' to '{}'); both sets must use the same names",
          source, label_names[i], files.paths[i], files.names.size(), files.names.front(), files.names.back()));
    files.labels.push_back(found->second);
  }
}

DatasetPtr open_class_folders(const std::string& folder, const std::vector<std::string>& classes) {
  auto files = std::make_shared<ImageFiles>();
  files->root = (fs::path(folder) / "").string();
  FolderListing listing = list_images(folder);
  std::vector<std::string> label_names;
  for (std::string& path : listing.images) {
    size_t slash = path.find('/');
    if (slash == path.npos) {
      ++listing.others;  // it lies beside the class folders
      continue;
    }
    label_names.push_back(path.substr(0, slash));
    files->paths.push_back(std::move(path));
  }
  if (files->paths.empty())
    fail_input(
        fmt::format("'{}' holds no images in class folders: expected one folder per class with .jpg, .jpeg, "
                    ".png or .webp files in it, or a labels.csv with the columns file and label{}",
                    folder, listing.images.empty() ? "" : " (images were found, but not inside a folder)"));
  assign_labels(*files, label_names, classes, folder);
  log::info("{}: {} images in {} class folders{}", folder, files->size(),
            std::set(label_names.begin(), label_names.end()).size(),
            listing.others ? fmt::format(", {} other files ignored", listing.others) : "");
  return files;
}

}  // namespace viaduct
