#include "app/pair_page.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "app/html.hpp"

namespace viaduct::app {
namespace {

constexpr const char* kStyle = R"(
  :root { color-scheme: light dark; --line: #8884; --yes: #2e9e5b; --no: #c9503c; }
  body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
  h1 { font-size: 1.3rem; } p { opacity: .75; }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
  figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
  img { width: 100%; height: 12rem; object-fit: contain; background: #8882; display: block; }
  figcaption { padding: .4rem .8rem 0; font-size: .75rem; opacity: .6; overflow-wrap: anywhere; }
  .pair { padding: .5rem .8rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
  .bar { height: 6px; border-radius: 3px; background: #8883; margin-top: .3rem; }
  .bar i { display: block; height: 100%; border-radius: 3px; background: var(--yes); }
  .low i { background: var(--no); }
  b { float: right; font-variant-numeric: tabular-nums; margin-left: .6rem; }
  .said { float: right; margin-left: .4rem; })";

std::string base64(const std::vector<uint8_t>& bytes) {  // RFC 4648
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    size_t have = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = uint32_t(bytes[i]) << 16;
    if (have > 1) group |= uint32_t(bytes[i + 1]) << 8;
    if (have > 2) group |= bytes[i + 2];
    for (size_t k = 0; k < 4; ++k) out += k <= have ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

const char* media_type(const std::vector<uint8_t>& file) {
  if (file.size() > 1 && file[0] == 0xff) return "image/jpeg";
  return !file.empty() && file[0] == 0x89 ? "image/png" : "image/webp";
}

bool right(const ScoredPair& pair) { return pair.match && *pair.match == (pair.score > 0.5); }

std::string verdict(const ScoredPair& pair) { return !pair.match ? "" : right(pair) ? "✓" : "✗"; }

std::string summary(const std::vector<ScoredPair>& pairs) {
  auto known = std::count_if(pairs.begin(), pairs.end(), [](const ScoredPair& p) { return p.match.has_value(); });
  if (known == 0) return fmt::format("{} pairs", pairs.size());
  auto rightly = std::count_if(pairs.begin(), pairs.end(), right);
  return fmt::format("{} of {} pairs are judged rightly (✓), {} wrongly (✗)", rightly, known, known - rightly);
}

std::string first_of(const std::vector<ScoredPair>& pairs, int64_t of) {
  return int64_t(pairs.size()) < of ? fmt::format("the first {} of {} texts: ", pairs.size(), of) : "";
}

// Characters, not bytes, of UTF-8.
std::string shortened(const std::string& text, size_t most) {
  size_t characters = 0, at = 0;
  for (; at < text.size(); ++at)
    if ((uint8_t(text[at]) & 0xc0) != 0x80 && characters++ == most) return text.substr(0, at) + "…";
  return text + std::string(most + 1 - characters, ' ');
}

}  // namespace

void write_pair_page(const Path& path, const std::string& title, const std::vector<ScoredPair>& pairs, int64_t of) {
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n<style>{1}\n</style>\n"
      "<h1>{0}</h1>\n<p>{2}. The score is the probability that picture and text belong together.</p>\n<main>\n",
      escape(title), kStyle, first_of(pairs, of) + summary(pairs));
  for (size_t i = 0; i < pairs.size(); ++i) {
    const ScoredPair& pair = pairs[i];
    bool new_picture = i == 0 || pairs[i - 1].image != pair.image;
    if (new_picture)
      page += fmt::format("{0}<figure><img alt=\"{1}\" src=\"data:{2};base64,{3}\">\n<figcaption>{1}</figcaption>\n",
                          i ? "</figure>\n" : "", escape(pair.image), media_type(pair.file), base64(pair.file));
    page += fmt::format(
        "<div class=\"pair{}\"><span class=\"said\">{}</span><b>{:.3f}</b>{}"
        "<div class=\"bar\"><i style=\"width:{:.1f}%\"></i></div></div>\n",
        pair.score > 0.5 ? "" : " low", verdict(pair), pair.score, escape(pair.text), 100 * pair.score);
  }
  page += pairs.empty() ? "</main></html>\n" : "</figure>\n</main></html>\n";
  write_file_durable(path, page);
}

std::string pair_table(const std::vector<ScoredPair>& pairs, int64_t of) {
  std::string table = fmt::format("{:>7}    {:<60} {}\n", "score", "text", "picture");
  for (const ScoredPair& pair : pairs)
    table += fmt::format("{:>7.3f} {:<2} {} {}\n", pair.score, pair.match ? verdict(pair) : " ",
                         shortened(printable(pair.text), 59), printable(pair.image));
  return table + first_of(pairs, of) + summary(pairs) + "\n";
}

}  // namespace viaduct::app
