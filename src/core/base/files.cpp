#include "core/base/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

namespace fs = std::filesystem;
constexpr const char* kOld = "-old";  // after the staging name: the version that is being replaced

[[noreturn]] void fail_read(const Path& path, int error) {
  if (error == ENOENT) fail_input(fmt::format("{}: there is no such file", path.string()));
  if (error == EACCES) fail_input(fmt::format("{}: not readable by this user", path.string()));
  fail_input(fmt::format("{}: cannot be read: {}", path.string(), std::strerror(error)));
}

[[noreturn]] void fail_write(const Path& path, int error) {
  if (error == ENOSPC || error == EDQUOT) {
    std::error_code ignored;
    auto space = fs::space(path.parent_path(), ignored);
    fail(Exit::crash, fmt::format("{}: cannot be written: {} ({} MB free); make room and run again", path.string(),
                                  error == ENOSPC ? "the disk is full" : "the disk quota is used up",
                                  ignored ? 0 : space.available / 1000000));
  }
  if (error == EACCES || error == EPERM || error == EROFS)
    fail_config(fmt::format("{}: cannot be written: {}; choose another output folder", path.string(),
                            error == EROFS ? "the file system is read-only" : "permission denied"));
  fail(Exit::crash, fmt::format("{}: cannot be written: {}", path.string(), std::strerror(error)));
}

Path folder_of(const Path& path) { return path.has_parent_path() ? path.parent_path() : Path("."); }

void write_all(int fd, const Path& path, const void* data, int64_t bytes) {
  for (int64_t done = 0; done < bytes;) {
    ssize_t n = ::write(fd, static_cast<const char*>(data) + done, size_t(bytes - done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_write(path, errno);
    done += n;
  }
}

void rename_or_fail(const Path& from, const Path& to) {
  if (::rename(from.c_str(), to.c_str())) fail_write(to, errno);
}

}  // namespace

FileReader::FileReader(const Path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // non-blocking: a pipe must not hang the open
  if (fd_ < 0) fail_read(path, errno);
  struct stat status {};
  bool regular = ::fstat(fd_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular) {
    ::close(std::exchange(fd_, -1));
    fail_input(fmt::format("{}: expected a file, found a {}", path.string(),
                           S_ISDIR(status.st_mode) ? "folder" : "device or pipe"));
  }
  size_ = status.st_size;
}
FileReader::FileReader(FileReader&& o) noexcept
    : path_(std::move(o.path_)), fd_(std::exchange(o.fd_, -1)), size_(o.size_) {}
FileReader::~FileReader() {
  if (fd_ >= 0) ::close(fd_);
}

void FileReader::read(int64_t offset, void* out, int64_t bytes) const {
  for (int64_t done = 0; done < bytes;) {
    ssize_t n = ::pread(fd_, static_cast<char*>(out) + done, size_t(bytes - done), offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_read(path_, errno);
    if (n == 0)
      fail_input(fmt::format("{}: expected {} bytes at offset {}, found {}; the file was cut short", path_.string(),
                             bytes, offset, done));
    done += n;
  }
}

std::string read_file(const Path& path, int64_t limit) {
  FileReader file(path);
  if (file.size() > limit)
    fail_input(fmt::format("{}: expected at most {} bytes, found {}", path.string(), limit, file.size()));
  std::string text(size_t(file.size()), '\0');
  file.read(0, text.data(), file.size());
  return text;
}

FileDigest digest_file(const Path& path) {
  FileReader file(path);
  Hasher hasher;
  std::vector<char> chunk(size_t(std::min<int64_t>(file.size(), 1 << 22)));
  for (int64_t at = 0; at < file.size();) {
    int64_t n = std::min<int64_t>(int64_t(chunk.size()), file.size() - at);
    file.read(at, chunk.data(), n);
    hasher.add(chunk.data(), n);
    at += n;
  }
  return {file.size(), hasher.hex()};
}

FileWriter::FileWriter(const Path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) fail_write(path, errno);
}
FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(path_.c_str());
}

void FileWriter::append(const void* data, int64_t bytes) {
  write_all(fd_, path_, data, bytes);
  hasher_.add(data, bytes);
  bytes_ += bytes;
}

FileDigest FileWriter::finish() {
  if (::fsync(fd_)) fail_write(path_, errno);
  if (::close(std::exchange(fd_, -1))) {  // network file systems report a full disk here
    int error = errno;
    ::unlink(path_.c_str());
    fail_write(path_, error);
  }
  return {bytes_, hasher_.hex()};
}

FileAppender::FileAppender(const Path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) fail_write(path, errno);
}
FileAppender::~FileAppender() { ::close(fd_); }
void FileAppender::append(std::string_view text) { write_all(fd_, path_, text.data(), int64_t(text.size())); }
void FileAppender::sync() {
  if (::fsync(fd_)) fail_write(path_, errno);
}

StagedFolder::StagedFolder(const Path& destination) : destination_(destination) {
  if (!destination_.has_filename()) destination_ = destination_.parent_path();  // "folder/"
  std::string prefix = fmt::format(".{}.tmp-", destination_.filename().string());
  staging_ = folder_of(destination_) / fmt::format("{}{}", prefix, ::getpid());
  make_folders(folder_of(destination_));
  remove_leftovers(folder_of(destination_), prefix);
  if (::mkdir(staging_.c_str(), 0777)) fail_write(staging_, errno);
}
StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(staging_, ignored);
}

void StagedFolder::refuse_to_lose_files() const {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(destination_, error))
    if (!fs::exists(fs::symlink_status(staging_ / entry.path().filename())))
      fail_config(
          fmt::format("{}: expected a new folder or an older version of this one, found '{}' in it; choose another",
                      destination_.string(), entry.path().filename().string()));
  if (error) fail_config(fmt::format("{}: expected a folder: {}", destination_.string(), error.message()));
}

void StagedFolder::commit(Replace replace) {
  sync_folder(staging_);
  if (!fs::exists(fs::symlink_status(destination_))) {
    rename_or_fail(staging_, destination_);
    committed_ = true;
    return sync_folder(folder_of(destination_));
  }
  if (replace == Replace::older_version) refuse_to_lose_files();
  if (::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, destination_.c_str(), RENAME_EXCHANGE)) {
    if (errno != EINVAL && errno != ENOSYS) fail_write(destination_, errno);
    Path aside = staging_.string() + kOld;  // file systems that cannot exchange: an instant without either
    rename_or_fail(destination_, aside);
    rename_or_fail(staging_, destination_);
    rename_or_fail(aside, staging_);
  }
  sync_folder(folder_of(destination_));  // the older version, now under the staging name, goes with this object
}

void StagedFolder::remove_leftovers(const Path& folder, const std::string& prefix) {
  std::error_code ignored;
  std::vector<Path> found;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.find(".tmp-") != name.npos) found.push_back(entry.path());
  }
  for (const Path& path : found) {
    std::string name = path.filename().string();
    Path destination = folder / name.substr(1, name.rfind(".tmp-") - 1);
    if (name.ends_with(kOld) && !fs::exists(fs::symlink_status(destination)))
      rename_or_fail(path, destination);  // killed between the two renames of commit()
    else
      fs::remove_all(path, ignored);
  }
}

void write_file_durable(const Path& path, std::string_view text) {
  make_folders(folder_of(path));
  Path temporary = folder_of(path) / fmt::format(".{}.tmp-{}", path.filename().string(), ::getpid());
  ::unlink(temporary.c_str());
  FileWriter file(temporary);
  file.append(text);
  file.finish();
  if (::rename(temporary.c_str(), path.c_str())) {
    int error = errno;
    ::unlink(temporary.c_str());
    fail_write(path, error);
  }
  sync_folder(folder_of(path));
}

void sync_folder(const Path& folder) {
  int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail_write(folder, errno);
  int error = ::fsync(fd) ? errno : 0;
  ::close(fd);
  if (error && error != EINVAL) fail_write(folder, error);  // EINVAL: a file system without folders to sync
}

void make_folders(const Path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail_write(folder, error.value());
}

}  // namespace viaduct
