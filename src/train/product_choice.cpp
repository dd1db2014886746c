#include "train/product_choice.hpp"

#include <cstdlib>
#include <filesystem>

#include "core/base/files.hpp"
#include "core/base/hash.hpp"
#include "core/base/log.hpp"
#include "core/ops/product_algorithms.hpp"

namespace viaduct {
namespace {

constexpr int64_t kLargest = 16 << 20;

// A file for each device and library; none where there is no place for it.
Path kept_file(Device device) {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (!(cache && *cache) && !(home && *home)) return {};
  const Path folder = cache && *cache ? Path(cache) : Path(home) / ".cache";
  std::string name = ops::product_library(device);
  for (char& c : name)
    if (!std::isalnum(uint8_t(c))) c = '-';
  return folder / "viaduct" / ("products-" + name + ".txt");
}

// What cannot be read or written only costs the time of measuring again.
void take_kept(Device device, const Path& file) {
  if (file.empty() || !std::filesystem::exists(file)) return;
  try {
    ops::use_product_algorithms(device, read_file(file, kLargest));
  } catch (const Error& e) {
    log::warn("the measured products of earlier runs are passed over: {}", e.what());
  }
}
void keep(const Path& file, const std::string& text) {
  if (file.empty()) return;
  try {
    make_folders(file.parent_path());
    write_file_durable(file, text);
  } catch (const Error& e) {
    log::warn("what was measured of products is not kept for the next run: {}", e.what());
  }
}

}  // namespace

void choose_products(Device device, const std::string& kept, Communicator& comm) {
  if (!device.is_cuda()) return;
  if (comm.rank() == 0) {
    const Path file = kept_file(device);
    if (kept.empty())
      take_kept(device, file);
    else if (!ops::use_product_algorithms(device, kept))
      log::warn(
          "the checkpoint chose its matrix products for another device or library than {}: from here on the last "
          "bits may be others",
          ops::product_library(device));
    const std::string before = ops::product_algorithms(device);
    ops::tune_products(device);
    if (kept.empty() && ops::product_algorithms(device) != before) keep(file, ops::product_algorithms(device));
  }
  const std::string chosen = comm.broadcast_text(comm.rank() == 0 ? ops::product_algorithms(device) : "", 0);
  if (comm.rank() != 0 && !ops::use_product_algorithms(device, chosen))
    fail_config(fmt::format("rank {} computes on {}, rank 0 on another: give all ranks GPUs of one kind and one CUDA",
                            comm.rank(), ops::product_library(device)));
}

}  // namespace viaduct
