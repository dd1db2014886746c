// Reports: what the page says, that what a run folder holds cannot do anything there, and what a browser makes of it.
#include <gmock/gmock.h>

#include "app/chart.hpp"
#include "app/report_page.hpp"
#include "core/base/check.hpp"
#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

int64_t count(const std::string& text, const std::string& part) {
  int64_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

bool has(const std::string& page, const std::string& part) { return page.find(part) != std::string::npos; }

TEST(Chart, TicksAreRound) {
  EXPECT_THAT(app::ticks(0, 1), ElementsAre(0, testing::DoubleEq(0.2), testing::DoubleEq(0.4), testing::DoubleEq(0.6),
                                            testing::DoubleEq(0.8), 1));
  EXPECT_THAT(app::ticks(-30, 70), ElementsAre(-20, 0, 20, 40, 60));
  EXPECT_THAT(app::ticks(1001, 1007), ElementsAre(1001, 1002, 1003, 1004, 1005, 1006, 1007));
}

TEST(Chart, FiguresAreShort) {
  EXPECT_EQ(app::figure(0), "0");
  EXPECT_EQ(app::figure(5e-5), "5e-05");
  EXPECT_EQ(app::figure(0.123456), "0.1235");
  EXPECT_EQ(app::figure(-1234567), "-1,234,567");
  EXPECT_EQ(app::figure(12345), "12,345");
}

TEST(Chart, ExtremeValuesAreDrawn) {
  for (const app::Series& points :
       {app::Series{{1, 5}}, app::Series{{1, 1e29}, {2, -1e29}}, app::Series{{0, 0}, {0, 0}}, app::Series{}}) {
    const std::string svg = app::line_chart({.title = "t", .unit = "", .curves = {{"c", "s0", points}}});
    EXPECT_EQ(svg.empty(), points.empty());
    EXPECT_THAT(svg, AllOf(Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
  }
}

// A run of 1,000 steps with two evaluations, as a user's own tools may have damaged it.
class Report : public testing::Test {
 protected:
  std::string folder(const std::string& name) const {
    std::filesystem::create_directories(own_ / name);
    return (own_ / name).string();
  }
  std::string whole(const std::string& name, const std::string& lr, double scale) const {
    const std::string run = folder(name);
    std::string lines;
    for (int step = 1; step <= 1000; ++step)
      lines += fmt::format(
          R"({{"step": {}, "epoch": 0.5, "samples": 8, "loss": {}, "lr": {}, "grad_norm": 1, "samples_per_second": 80, )"
          R"("data_seconds": 0.01, "forward_seconds": 0.02, "backward_seconds": 0.04, "comm_seconds": 0, )"
          R"("optimizer_seconds": 0.01, "quarantined": 0}})"
          "\n",
          step, scale / (1 + step / 100.0) + 0.1 * (step % 7), lr);
    for (int step : {500, 1000})
      lines += fmt::format(R"({{"step": {}, "epoch": 1, "eval_loss": 0.5, "eval_accuracy": 0.8125}})"
                           "\n",
                           step);
    write_bytes(run + "/metrics.jsonl",
                lines +
                    R"({"step": 1000, "epoch": 1, "train_runtime": 90, "train_step_seconds": 0.08, )"
                    R"("train_step_seconds_p95": 0.09, "train_data_seconds": 0.012, "train_data_seconds_p95": 0.03})"
                    "\n");
    write_bytes(run + "/config.cfg", "# The effective configuration\n\n[train]\nlr = " + lr +
                                         "   # command line\nseed = 42   # default\n[run]\noutput = " + run +
                                         "   # vit.cfg:3\n");
    write_bytes(run + "/verdict.json", R"({"outcome": "completed", "exit_code": 0, "rank": 0, "host": "node1",
                                         "phase": "finish", "step": 1000, "message": "every step was done"})");
    write_bytes(
        run + "/summary.json",
        R"({"model": "ViT, 2 layers of 24", "parameters": 12300000, "device": "cpu", "host": "node1", "ranks": 2,
                    "memory_bytes": {"parameters": 49200000, "gradients": 49200000, "activations": 300000000},
                    "bound": "bound by waiting for images: 15 % of a step"})");
    return run;
  }
  std::string page(const std::string& runs, const std::string& stop = "") const {
    Result result = viaduct("report " + runs + " --report.output " + (own_ / "page.html").string() + stop);
    EXPECT_EQ(result.code, 0) << result.err;
    said_ = result.err, table_ = result.out;
    return read_bytes(own_ / "page.html");
  }
  TempFolder own_;
  mutable std::string said_, table_;
};

TEST_F(Report, SaysWhatTheRunDid) {
  const std::string html = page(whole("first", "0.001", 3));
  for (const char* part : {"<h3 title=", ">first</h3>", ">completed<", "ViT, 2 layers of 24, 12.3 M parameters",
                           "2 ranks on node1 (cpu)", "bound by waiting for images: 15 % of a step", "81.2 %",
                           "398.4 MB", "90.0 s", "Held-out accuracy", "Learning rate", "Throughput", "Memory of a rank",
                           "Configuration", "<code>train.lr</code>", "<small>command line</small>", "95 % within 0.03"})
    EXPECT_TRUE(has(html, part)) << part;
  EXPECT_EQ(count(html, "<path class=\"line s0\""), 4);  // loss, learning rate, throughput, gradient norm
  EXPECT_EQ(count(html, "<path class=\"dashed s0\""), 2);
  EXPECT_EQ(count(html, "<circle class=\"s0\""), 4);
  EXPECT_EQ(count(html, "<path class=\"area p-"), 5);
  EXPECT_EQ(said_.find("warning"), std::string::npos) << said_;
  EXPECT_LT(html.size(), 400'000u);
}

TEST_F(Report, ComparesRunsAndMarksWhatDiffers) {
  const std::string html = page(whole("first", "0.001", 3) + " " + whole("second", "0.002", 4));
  EXPECT_EQ(count(html, "<tr class=\"differs\"><td><code>train.lr</code>"), 2);  // among what differs, and among all
  EXPECT_EQ(count(html, "<tr class=\"differs\""), 2);
  EXPECT_EQ(count(html, "<path class=\"line s1\""), 4);
  EXPECT_EQ(count(html, "<path class=\"area p-"), 10);
  EXPECT_TRUE(has(html, "2 runs compared"));
  EXPECT_EQ(count(table_, "\n"), 3);
}

TEST_F(Report, NothingInARunFolderIsMarkup) {
  const std::string evil = "\"><script>document.title='gone'</script><img src=x onerror=alert(1)>'";
  const std::string run = whole("x", "0.001", 3);
  const std::string renamed = folder("<img src=x onerror=document.title=1>");
  for (const char* file : {"metrics.jsonl", "config.cfg", "verdict.json"})
    std::filesystem::copy(run + "/" + file, renamed + "/" + file);
  write_bytes(renamed + "/summary.json",
              nlohmann::json{{"model", evil}, {"bound", evil}, {"memory_bytes", {{evil, 5}}}}.dump());
  write_bytes(renamed + "/verdict.json", nlohmann::json{{"outcome", evil}, {"message", evil}}.dump());
  write_bytes(renamed + "/config.cfg", "[train]\n" + evil + " = " + evil + " # " + evil + "\n");
  write_bytes(renamed + "/metrics.jsonl", nlohmann::json{{"step", 1}, {"eval_" + evil, 0.5}}.dump() + "\n");
  const std::string html = page("'" + renamed + "'");
  EXPECT_FALSE(has(html, "<script") || has(html, "<img"));
  EXPECT_TRUE(has(html, "default-src 'none'"));
  for (const char* outside : {"http:", "https:", "src=\"", "url("}) EXPECT_FALSE(has(html, outside)) << outside;
}

TEST_F(Report, WhatIsMissingOrBrokenIsASentence) {
  const std::string run = folder("broken");
  write_bytes(run + "/metrics.jsonl",
              "no json\n{\"step\": 1e300, \"loss\": 1}\n[1]\n{\"step\": 2, \"loss\": null}\n"
              "{\"step\": 3, \"loss\": 1e99, \"lr\": \"x\"}\n{\"step\": 4, \"lo");
  write_bytes(run + "/summary.json", "[]");
  write_bytes(run + "/config.cfg", "\xff\xfe = =\n[\n=\n");
  std::string html = page(run);
  for (const char* sentence : {"2 lines of metrics.jsonl are no JSON objects and are left out",
                               "1 logged losses are not finite", "summary.json holds no JSON object and is left out"}) {
    EXPECT_TRUE(has(html, sentence)) << sentence;
    EXPECT_TRUE(has(said_, sentence)) << sentence;
  }
  const std::string bare = folder("bare");
  write_bytes(
      bare + "/verdict.json",
      R"({"outcome": "stalled", "message": "rank 1 waits", "rank": 1, "host": "n", "step": 3, "phase": "comm"})");
  html = page(bare);
  for (const char* sentence : {"metrics.jsonl is missing", "config.cfg is missing", "summary.json is missing",
                               "rank 1 waits (rank 1 on n, step 3, in comm)"})
    EXPECT_TRUE(has(html, sentence)) << sentence;
  EXPECT_EQ(viaduct("report " + folder("empty")).code, 3);
}

TEST_F(Report, ThePageIsBesideARunOrHere) {
  const std::string first = whole("first", "0.001", 3), second = whole("second", "0.002", 4);
  EXPECT_EQ(viaduct("report " + first).code, 0);
  EXPECT_TRUE(std::filesystem::exists(first + "/report.html"));
  EXPECT_EQ(shell("cd " + folder("here") + " && $viaduct report " + first + " " + second).code, 0);
  EXPECT_TRUE(std::filesystem::exists(own_ / "here" / "report.html"));
  EXPECT_FALSE(std::filesystem::exists(second + "/report.html"));
  EXPECT_EQ(viaduct("report " + second + " --report.output ''").code, 0);
  EXPECT_FALSE(std::filesystem::exists(second + "/report.html"));
  EXPECT_EQ(viaduct("report " + second + " --report.output " + first).code, 2);
}

// With a headless browser, where there is one: VIADUCT_CHROMIUM, or chromium on PATH.
TEST_F(Report, ABrowserDrawsIt) {
  if (shell("command -v ${VIADUCT_CHROMIUM:-chromium}").code != 0)
    GTEST_SKIP() << "no chromium on PATH, and VIADUCT_CHROMIUM names none";
  const std::string evil = folder("<textarea x");
  const std::string run = whole("first", "0.001", 3);
  for (const auto& file : std::filesystem::directory_iterator(run))
    std::filesystem::copy(file.path(), std::filesystem::path(evil) / file.path().filename());
  page(run + " '" + evil + "'");
  Result dom =
      shell("${VIADUCT_CHROMIUM:-chromium} --headless --no-sandbox --disable-gpu --user-data-dir=" + folder("profile") +
            " --dump-dom file://" + (own_ / "page.html").string());
  ASSERT_EQ(dom.code, 0) << dom.err;
  EXPECT_TRUE(has(dom.out, "<title>first and 1 more"));
  for (const char* run_class : {"s0", "s1"}) {
    EXPECT_EQ(count(dom.out, std::string("<path class=\"line ") + run_class + "\""), 4);
    EXPECT_EQ(count(dom.out, std::string("<circle class=\"") + run_class + "\""), 4);
  }
  EXPECT_EQ(count(dom.out, "<path class=\"area p-"), 10);
  EXPECT_EQ(count(dom.out, "</svg>"), 5 + 2);
  EXPECT_TRUE(has(dom.out, "</footer>"));  // nothing closed the page early
}

}  // namespace
}  // namespace viaduct::test
