#include "train/event_file.hpp"

#include <array>
#include <bit>

namespace viaduct::events {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // Castagnoli's, bits reversed
constexpr size_t kLength = 8, kCrc = 4;

constexpr std::array<uint32_t, 256> kTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ kPolynomial : crc >> 1;
    table[i] = crc;
  }
  return table;
}();

std::string little_endian(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += char(value >> (8 * i) & 0xff);
  return text;
}
uint64_t from_little_endian(std::string_view text) {
  uint64_t value = 0;
  for (size_t i = 0; i < text.size(); ++i) value |= uint64_t(uint8_t(text[i])) << (8 * i);
  return value;
}

std::string varint(uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text += char(value | 0x80);
  return text + char(value);
}
std::optional<uint64_t> read_varint(std::string_view text, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && at < text.size(); shift += 7) {
    const auto byte = uint8_t(text[at++]);
    value |= uint64_t(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return {};
}

Message event(double seconds, int64_t step) { return Message().number(1, seconds).integer(2, uint64_t(step)); }
enum WireType { kVarint = 0, kEight = 1, kBytes = 2, kFour = 5 };

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (char c : bytes) crc = kTable[(crc ^ uint8_t(c)) & 0xff] ^ crc >> 8;
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string frame(std::string_view message) {
  const std::string length = little_endian(message.size(), kLength);
  return length + little_endian(masked_crc32c(length), kCrc) + std::string(message) +
         little_endian(masked_crc32c(message), kCrc);
}

std::optional<std::string> next_frame(std::string_view file, size_t& offset) {
  const std::string_view rest = file.substr(offset);
  auto sealed = [](std::string_view bytes, std::string_view crc) {
    return masked_crc32c(bytes) == from_little_endian(crc);
  };
  if (rest.size() < kLength + kCrc || !sealed(rest.substr(0, kLength), rest.substr(kLength, kCrc))) return {};
  const uint64_t length = from_little_endian(rest.substr(0, kLength));
  const std::string_view body = rest.substr(kLength + kCrc);
  if (body.size() < kCrc || length > body.size() - kCrc) return {};
  if (!sealed(body.substr(0, length), body.substr(length, kCrc))) return {};
  offset += kLength + kCrc + length + kCrc;
  return std::string(body.substr(0, length));
}

int64_t step_of(std::string_view message) {
  for (size_t at = 0; at < message.size();) {
    const auto tag = read_varint(message, at);
    if (!tag) break;
    const int wire = int(*tag & 7);
    const auto value = wire == kVarint || wire == kBytes ? read_varint(message, at) : std::optional<uint64_t>(0);
    if (!value) break;
    if (*tag == (2 << 3 | kVarint)) return int64_t(*value);
    const uint64_t skipped = wire == kBytes ? *value : wire == kEight ? 8 : wire == kFour ? 4 : 0;
    if (skipped > message.size() - at) break;
    at += skipped;
  }
  return 0;
}

void Message::tag(int field, int wire_type) { text_ += varint(uint64_t(field) << 3 | uint64_t(wire_type)); }

Message& Message::integer(int field, uint64_t value) {
  if (value) tag(field, kVarint), text_ += varint(value);
  return *this;
}
Message& Message::number(int field, double value) {
  tag(field, kEight), text_ += little_endian(std::bit_cast<uint64_t>(value), 8);
  return *this;
}
Message& Message::single(int field, float value) {
  tag(field, kFour), text_ += little_endian(std::bit_cast<uint32_t>(value), 4);
  return *this;
}
Message& Message::bytes(int field, std::string_view value) {
  tag(field, kBytes), text_ += varint(value.size()), text_ += value;
  return *this;
}

Message scalar(const std::string& tag, double value) { return Message().bytes(1, tag).single(2, float(value)); }

Message picture(const std::string& tag, int height, int width, std::string_view file) {
  constexpr uint64_t kRgb = 3;
  return Message().bytes(1, tag).add(
      4, Message().integer(1, uint64_t(height)).integer(2, uint64_t(width)).integer(3, kRgb).bytes(4, file));
}

// A tensor of one string, which the text plug-in shows.
Message markdown(const std::string& tag, const std::string& text) {
  constexpr uint64_t kString = 7, kTensorData = 2;
  const Message shape = Message().add(2, Message().integer(1, 1));
  return Message()
      .bytes(1, tag)
      .add(8, Message().integer(1, kString).add(2, shape).bytes(8, text))
      .add(9, Message().add(1, Message().bytes(1, "text")).integer(4, kTensorData));
}

std::string file_version_event(double seconds) { return event(seconds, 0).bytes(3, "brain.Event:2").text(); }

std::string restart_event(double seconds, int64_t step) {
  constexpr uint64_t kStart = 1;
  return event(seconds, step).add(7, Message().integer(1, kStart)).text();
}

std::string summary_event(double seconds, int64_t step, const std::vector<Message>& values) {
  Message summary;
  for (const Message& value : values) summary.add(1, value);
  return event(seconds, step).add(5, summary).text();
}

}  // namespace viaduct::events
