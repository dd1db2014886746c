// TensorBoard's event files: the checksum, the frames, what a resume cuts off, and what the real TensorBoard reads.
#include "train/event_file.hpp"

#include <gmock/gmock.h>

#include <filesystem>

#include "core/base/files.hpp"
#include "core/base/log.hpp"
#include "tests/support/temp_folder.hpp"
#include "train/tensorboard.hpp"

namespace viaduct {
namespace {

using testing::ElementsAre;

std::string hex(const std::string& bytes) {
  std::string text;
  for (char c : bytes) text += fmt::format("{:02x}", uint8_t(c));
  return text;
}

TEST(EventFile, ChecksumsAreThoseOfRfc3720) {
  EXPECT_EQ(events::crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(events::crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(events::crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(events::crc32c(""), 0u);
}

// Recorded from tensorboard.summary.writer.record_writer.RecordWriter.
TEST(EventFile, FramesAreTensorBoards) {
  EXPECT_EQ(hex(events::frame("abc")), "0300000000000000b099490e6162636e57f121");
  EXPECT_EQ(hex(events::frame("")), "000000000000000029039807d8ea82a2");
}

// Recorded from tensorboard.compat.proto.event_pb2.Event.SerializeToString.
TEST(EventFile, EventsAreTheSameBytesAsProtobufs) {
  EXPECT_EQ(hex(events::file_version_event(1.5)), "09000000000000f83f1a0d627261696e2e4576656e743a32");
  EXPECT_EQ(hex(events::restart_event(1.5, 7)), "09000000000000f83f10073a020801");
  EXPECT_EQ(hex(events::summary_event(
                1.5, 300,
                {events::scalar("train/loss", 0.25), events::picture("p", 2, 3, "jpg"), events::markdown("t", "|a|")})),
            "09000000000000f83f10ac022a450a110a0a747261696e2f6c6f7373150000803e0a100a0170220b08021003180322036a70670a1e"
            "0a0174420d080712041202080142037c617c4a0a0a060a04746578742002");
}

TEST(EventFile, AnyDamagedByteIsSeen) {
  const std::string whole = events::frame("a message");
  size_t at = 0;
  EXPECT_EQ(events::next_frame(whole, at), "a message");
  EXPECT_EQ(at, whole.size());
  EXPECT_FALSE(events::next_frame(whole, at));
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string bad = whole;
    bad[i] = char(bad[i] ^ 1);
    at = 0;
    EXPECT_FALSE(events::next_frame(bad, at)) << "byte " << i;
    EXPECT_FALSE(events::next_frame(std::string_view(whole).substr(0, i), at)) << "cut to " << i;
    EXPECT_EQ(at, 0u);
  }
}

TEST(EventFile, StepsAreFound) {
  EXPECT_EQ(events::step_of(events::file_version_event(1)), 0);
  EXPECT_EQ(events::step_of(events::summary_event(1, 123456789012, {})), 123456789012);
  EXPECT_EQ(events::step_of("\xff\xff\xff"), 0);  // nonsense does no harm
  EXPECT_EQ(events::step_of(std::string("\x0a\xff\xff\xff\xff\x7f", 6)), 0);
}

class TensorBoardFiles : public testing::Test {
 protected:
  void write(int64_t start, int64_t last) {
    TensorBoard::cut(folder_.path(), start);
    TensorBoard board(folder_.path(), start, 1);
    for (int64_t step = start + 1; step <= last; ++step)
      board.stepped({.step = step, .total_steps = 10, .loss = double(step), .seconds = 1});
  }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  }
  // Steps of the file's summaries; whatever is not a frame ends it.
  static std::vector<int64_t> steps(const std::filesystem::path& file) {
    std::vector<int64_t> found;
    const std::string text = test::read_bytes(file);
    size_t at = 0;
    while (auto message = events::next_frame(text, at))
      if (message->find("train/loss") != std::string::npos) found.push_back(events::step_of(*message));
    EXPECT_EQ(at, text.size()) << file;
    return found;
  }
  test::TempFolder folder_;
};

TEST_F(TensorBoardFiles, AResumeCutsOffLaterSteps) {
  write(0, 5);
  std::ofstream(files().at(0), std::ios::app) << "a write that a kill cut short";
  write(3, 6);
  ASSERT_EQ(files().size(), 2u);
  EXPECT_THAT(steps(files()[0]), ElementsAre(1, 2, 3));
  EXPECT_THAT(steps(files()[1]), ElementsAre(4, 5, 6));
  write(4, 5);
  ASSERT_EQ(files().size(), 3u);
  EXPECT_THAT(steps(files()[1]), ElementsAre(4));
  EXPECT_THAT(steps(files()[2]), ElementsAre(5));
}

TEST_F(TensorBoardFiles, AFileSaysWhereItBegins) {
  write(3, 3);
  const std::string text = test::read_bytes(files().at(0));
  size_t at = 0;
  EXPECT_EQ(events::step_of(*events::next_frame(text, at)), 0);  // the version
  EXPECT_EQ(events::step_of(*events::next_frame(text, at)), 4);  // the restart
  EXPECT_EQ(at, text.size());
}

}  // namespace
}  // namespace viaduct
