// Line charts and stacked areas as inline SVG, without scripts: the values at a step appear by the style sheet's :hover.
// Colours are classes of the page (report_style.hpp): s0 .. s7 of runs, p-NAME of parts.
#pragma once
#include <string>
#include <vector>

#include "app/report_data.hpp"

namespace viaduct::app {

struct Curve {
  std::string name;    // at the pointer
  std::string colour;  // class
  Series points;       // x rising
  bool dots = false;   // few and apart, such as evaluations: joined by a dashed line
};

struct Chart {
  std::string title, unit;  // unit: of y, for people
  std::vector<Curve> curves;
  bool from_zero = false;
};

// A faint line through all points (of many, through the means of neighbours) and a bold running mean over a twentieth
// of them. Empty text where no curve has a point.
std::string line_chart(const Chart&);
// The curves upon each other; their points have the same x.
std::string stacked_chart(const Chart&);

std::string figure(double);                          // "0.412", "12,345", "5e-05": of four digits
std::vector<double> ticks(double low, double high);  // round numbers within, three to eight

}  // namespace viaduct::app
