// TensorBoard's event files: TFRecord frames around Event messages of tensorflow/core/util/event.proto. A frame is
//   uint64 length, uint32 masked CRC32C of the length, the message, uint32 masked CRC32C of the message
// in little-endian order (tensorflow/core/lib/io/record_writer.h). The few fields that are needed are encoded by hand.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace viaduct::events {

uint32_t crc32c(std::string_view bytes);  // Castagnoli, RFC 3720 B.4
uint32_t masked_crc32c(std::string_view bytes);
std::string frame(std::string_view message);
// The message of the frame at `offset`, which then lies behind it; nothing at the end, and where a frame is torn or
// damaged.
std::optional<std::string> next_frame(std::string_view file, size_t& offset);
int64_t step_of(std::string_view message);  // of an Event; 0 where it has none

// A protobuf message under construction. Integers that are 0 are left out, as proto3 does.
class Message {
 public:
  Message& integer(int field, uint64_t value);
  Message& number(int field, double value);  // 8 bytes
  Message& single(int field, float value);   // 4 bytes
  Message& bytes(int field, std::string_view value);
  Message& add(int field, const Message& value) { return bytes(field, value.text_); }
  const std::string& text() const { return text_; }

 private:
  void tag(int field, int wire_type);
  std::string text_;
};

// Summary.Value of a scalar, of an encoded picture, of Markdown.
Message scalar(const std::string& tag, double value);
Message picture(const std::string& tag, int height, int width, std::string_view file);
Message markdown(const std::string& tag, const std::string& text);

// Events. `seconds`: since 1970.
std::string file_version_event(double seconds);
// What was written of this step and later ones is void: the run begins again there.
std::string restart_event(double seconds, int64_t step);
std::string summary_event(double seconds, int64_t step, const std::vector<Message>& values);

}  // namespace viaduct::events
