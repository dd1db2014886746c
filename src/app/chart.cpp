#include "app/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/html.hpp"

namespace viaduct::app {
namespace {

constexpr double kWidth = 480, kHeight = 250, kLeft = 54, kRight = 18, kTop = 12, kBottom = 28;
constexpr int64_t kMostPoints = 230;  // two units of the drawing apart
constexpr int kStrips = 48;           // places where the pointer finds values

// Of the neighbours that fall on one place of the drawing, their mean.
Series thinned(const Series& points) {
  const auto n = int64_t(points.size()), buckets = std::min(n, kMostPoints);
  Series out;
  for (int64_t b = 0; b < buckets; ++b) {
    const int64_t begin = b * n / buckets, end = (b + 1) * n / buckets;
    Point mean;
    for (int64_t i = begin; i < end; ++i) mean.x += points[size_t(i)].x, mean.y += points[size_t(i)].y;
    out.push_back({mean.x / double(end - begin), mean.y / double(end - begin)});
  }
  return out;
}

Series running_mean(const Series& points) {
  const auto n = int64_t(points.size()), reach = n / 40;  // to either side
  Series out;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t around = std::min({reach, i, n - 1 - i});  // symmetric, so that the ends do not lag
    double sum = 0;
    for (int64_t k = i - around; k <= i + around; ++k) sum += points[size_t(k)].y;
    out.push_back({points[size_t(i)].x, sum / double(2 * around + 1)});
  }
  return out;
}

struct Scale {
  double low = INFINITY, high = -INFINITY, from = 0, to = 1;  // values, and where they are drawn
  void take(double value) { low = std::min(low, value), high = std::max(high, value); }
  void settle(bool from_zero) {
    if (from_zero || (low > 0 && low < 0.3 * high)) low = std::min(low, 0.0);
    if (!(high > low)) low -= std::max(std::abs(low), 1e-12) / 2, high += std::max(std::abs(high), 1e-12) / 2;
  }
  double operator()(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

struct Frame {
  Scale x{.from = kLeft, .to = kWidth - kRight}, y{.from = kHeight - kBottom, .to = kTop};
  std::string open(const Chart& chart) const {
    std::string svg = fmt::format(
        "<figure class=\"chart\"><figcaption>{0}<small>{1}</small></figcaption>"
        "<svg viewBox=\"0 0 {2} {3}\" role=\"img\" aria-label=\"{0}\">\n",
        escape(chart.title), escape(chart.unit), kWidth, kHeight);
    for (double value : ticks(y.low, y.high))
      svg += fmt::format(
          "<path class=\"grid\" d=\"M{0:.1f} {2:.1f}H{1:.1f}\"/><text class=\"y\" x=\"{3:.1f}\" "
          "y=\"{4:.1f}\">{5}</text>\n",
          kLeft, kWidth - kRight, y(value), kLeft - 7, y(value) + 4, figure(value));
    for (double value : ticks(x.low, x.high)) {
      if (value != std::round(value)) continue;  // there is no half step
      svg +=
          fmt::format("<text class=\"x\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x(value), kHeight - 9, figure(value));
    }
    return svg;
  }
};

std::string path(const char* kind, const std::string& colour, const Series& points, const Frame& frame) {
  std::string d;
  for (const Point& p : points) d += fmt::format("{}{:.1f} {:.1f}", d.empty() ? "M" : "L", frame.x(p.x), frame.y(p.y));
  return fmt::format("<path class=\"{} {}\" d=\"{}\"/>\n", kind, colour, d);
}

// The point nearest to x.
const Point& nearest(const Series& points, double x) {
  auto right = std::lower_bound(points.begin(), points.end(), x, [](const Point& p, double at) { return p.x < at; });
  if (right == points.end()) return points.back();
  return right != points.begin() && x - std::prev(right)->x < right->x - x ? *std::prev(right) : *right;
}

std::string cut_name(const std::string& name) {  // for a small box; of UTF-8 whole characters
  constexpr size_t kMost = 22;
  if (name.size() <= kMost) return name;
  size_t begin = name.size() - kMost;
  while (begin < name.size() && (uint8_t(name[begin]) & 0xc0) == 0x80) ++begin;
  return "…" + name.substr(begin);
}

// Strips over the whole height; under the pointer one shows a line and the curves' values there.
std::string strips(const std::vector<Curve>& curves, const Frame& frame) {
  std::string svg;
  size_t longest = 0, drawn = 0;
  for (const Curve& c : curves)
    if (!c.points.empty()) longest = std::max(longest, cut_name(c.name).size()), ++drawn;
  const double wide = (kWidth - kLeft - kRight) / kStrips, box = 70 + 6.2 * double(longest);
  for (int i = 0; i < kStrips; ++i) {
    const double at = frame.x.low + (i + 0.5) / kStrips * (frame.x.high - frame.x.low), px = frame.x(at);
    const double left = px < kWidth / 2 ? px + 8 : px - 8 - box;
    std::string rows;
    double step = at, row = kTop + 17;
    for (const Curve& c : curves) {
      if (c.points.empty()) continue;
      const Point& p = nearest(c.points, at);
      if (rows.empty()) step = p.x;
      row += 15;
      rows += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{} {}</text>", c.colour, left + 8, row,
                          escape(cut_name(c.name)), figure(p.y));
    }
    svg += fmt::format(
        "<g class=\"tip\"><rect x=\"{:.1f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\"/><g><path d=\"M{:.1f} {}V{}\"/>"
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" rx=\"4\"/><text x=\"{:.1f}\" y=\"{}\">step "
        "{}</text>{}</g></g>\n",
        px - wide / 2, kTop, wide, kHeight - kTop - kBottom, px, kTop, kHeight - kBottom, left, kTop + 2, box,
        22 + 15 * drawn, left + 8, kTop + 17, figure(std::round(step)), rows);
  }
  return svg;
}

}  // namespace

std::string figure(double value) {
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (size >= 1e15 || size < 1e-3) return fmt::format("{:.3g}", value);
  if (size < 1e4) return fmt::format("{:.4g}", value);
  std::string digits = fmt::format("{:.0f}", size);
  for (auto at = int64_t(digits.size()) - 3; at > 0; at -= 3) digits.insert(size_t(at), ",");
  return (value < 0 ? "-" : "") + digits;
}

std::vector<double> ticks(double low, double high) {
  const double rough = (high - low) / 7, power = std::pow(10, std::floor(std::log10(rough)));
  double step = power;
  for (double factor : {2.0, 5.0, 10.0})
    if (step < rough) step = factor * power;
  std::vector<double> found;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step && found.size() < 12; ++k)
    found.push_back(k == 0 ? 0 : k * step);
  return found;
}

std::string line_chart(const Chart& chart) {
  Frame frame;
  std::vector<Curve> curves = chart.curves;
  std::string drawn;
  for (Curve& c : curves) {
    if (!c.dots) c.points = thinned(c.points);
    for (const Point& p : c.points) frame.x.take(p.x), frame.y.take(p.y);
  }
  if (!(frame.x.low <= frame.x.high)) return "";
  frame.x.settle(false), frame.y.settle(chart.from_zero);
  for (const Curve& c : curves) {
    if (c.points.empty()) continue;
    const bool few = c.points.size() < 40;
    if (!c.dots && !few) drawn += path("raw", c.colour, c.points, frame);
    drawn += path(c.dots ? "dashed" : "line", c.colour, c.dots ? c.points : running_mean(c.points), frame);
    if (c.dots || c.points.size() == 1)
      for (const Point& p : c.points)
        drawn += fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>\n", c.colour, frame.x(p.x),
                             frame.y(p.y));
  }
  return frame.open(chart) + drawn + strips(curves, frame) + "</svg></figure>\n";
}

std::string stacked_chart(const Chart& chart) {
  Frame frame;
  std::vector<Curve> curves = chart.curves;
  Series below;
  for (Curve& c : curves) {
    c.points = thinned(c.points);
    if (below.empty())
      for (const Point& p : c.points) below.push_back({p.x, 0});
  }
  if (below.empty()) return "";
  for (const Point& p : below) frame.x.take(p.x);
  frame.x.settle(false), frame.y.take(0);
  std::vector<Series> tops{below};
  for (const Curve& c : curves) {
    Series top = tops.back();
    for (size_t i = 0; i < top.size() && i < c.points.size(); ++i) top[i].y += c.points[i].y;
    for (const Point& p : top) frame.y.take(p.y);
    tops.push_back(top);
  }
  frame.y.settle(true);
  std::string drawn;
  for (size_t k = 0; k < curves.size(); ++k) {
    Series around = tops[k + 1];
    around.insert(around.end(), tops[k].rbegin(), tops[k].rend());
    drawn += path("area", curves[k].colour, around, frame);
  }
  return frame.open(chart) + drawn + strips(curves, frame) + "</svg></figure>\n";
}

}  // namespace viaduct::app
