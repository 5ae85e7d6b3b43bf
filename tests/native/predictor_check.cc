// Uses the installed prediction library as a program of others would: prints what is wrong with it.
//
//   predictor_check PREFIX IMAGE threads    predictors in threads, each with images of its own
//   predictor_check PREFIX IMAGE reshape    batches of all sizes, 2,000 times
//   predictor_check PREFIX IMAGE misuse     arguments that cannot be
#include <gluon_resnet/predictor.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace {

using gluon_resnet::ModelCard;
using gluon_resnet::Predictor;

[[noreturn]] void fail(const std::string& message) { throw std::runtime_error(message); }

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

long resident_kib() {
  std::istringstream text(read("/proc/self/statm"));
  long size = 0, resident = 0;
  text >> size >> resident;
  return 4 * resident;
}

// So many different inputs behind each other, made of one.
std::vector<float> variants(const std::vector<float>& input, size_t count, size_t first) {
  std::vector<float> inputs;
  for (size_t i = first; i < first + count; ++i) {
    for (const float value : input) {
      inputs.push_back(255 * std::pow(value / 255, 0.5F + 0.2F * static_cast<float>(i % 11)));
    }
  }
  return inputs;
}

void expect_near(const std::vector<float>& found, const float* expected, const char* what) {
  for (size_t i = 0; i < found.size(); ++i) {
    if (!(std::abs(found[i] - expected[i]) < 1e-4F)) fail(std::string("other logits: ") + what);
  }
}

void threads(const std::string& prefix, const std::string& image) {
  gluon_resnet::share_processors(4, 1);
  Predictor shared(prefix, 1);
  const std::vector<float> input = shared.preprocess(read(image));
  const size_t classes = shared.card().classes.size();
  const std::vector<float> expected = shared.logits(variants(input, 11, 0));
  std::vector<std::string> wrong(4);
  std::vector<std::thread> workers;
  for (size_t t = 0; t < wrong.size(); ++t) {
    workers.emplace_back([&, t] {
      try {
        Predictor predictor(prefix, 4);
        for (size_t round = 0; round < 50; ++round) {
          const size_t first = (t + round) % 8, count = 1 + (t + round) % 3;
          if (shared.preprocess(read(image)) != input) fail("another input");
          expect_near(predictor.logits(variants(input, count, first)), &expected[first * classes],
                      "in a thread");
        }
      } catch (const std::exception& error) {
        wrong[t] = error.what();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  for (const std::string& message : wrong) {
    if (!message.empty()) fail(message);
  }
}

void reshape(const std::string& prefix, const std::string& image) {
  Predictor predictor(prefix, 8);
  Predictor moved = std::move(predictor);
  predictor = std::move(moved);
  const std::vector<float> input = predictor.preprocess(read(image));
  const size_t classes = predictor.card().classes.size();
  const std::vector<float> inputs = variants(input, 11, 0);
  const std::vector<float> expected = predictor.logits(inputs);  // 8 and 3
  if (!predictor.logits({}).empty()) fail("logits of no image");
  long early = 0;
  for (size_t i = 0; i <= 2000; ++i) {
    const size_t count = 1 + i % 7, first = i % 4;  // more sizes than are kept: each is bound anew
    const auto begin = inputs.begin() + static_cast<long>(first * input.size());
    const std::vector<float> some(begin, begin + static_cast<long>(count * input.size()));
    expect_near(predictor.logits(some), &expected[first * classes], "of a smaller batch");
    if (i == 200) early = resident_kib();
  }
  const long late = resident_kib();
  std::printf("resident after 200 and 2,000 reshapes: %ld and %ld KiB\n", early, late);
  if (late - early > 4096) fail("memory grows");
}

void expect_throw(const std::function<void()>& call, const std::string& words) {
  try {
    call();
  } catch (const std::runtime_error& error) {
    if (std::string(error.what()).find(words) != std::string::npos) return;
    fail("expected '" + words + "', found '" + error.what() + "'");
  }
  fail("nothing thrown, expected '" + words + "'");
}

void misuse(const std::string& prefix, const std::string& image) {
  expect_throw([] { gluon_resnet::share_processors(0, 1); }, "0 predictors");
  expect_throw([&] { Predictor(prefix + "x"); }, prefix + "x-model.json: cannot open");
  expect_throw([&] { Predictor(prefix, size_t{0}); }, "expected a batch of 1 to ");
  expect_throw([&] { Predictor(prefix, size_t{1} << 40); }, "found 1099511627776");
  ModelCard card = gluon_resnet::read_card(prefix + "-model.json");
  card.interpolation = "best";
  expect_throw([&] { Predictor(prefix, card); }, "interpolation best");
  card.interpolation = "area";
  card.resize = card.size - 1;
  expect_throw([&] { Predictor(prefix, card); }, "no evaluation transform");
  card.resize = 0;
  card.classes = {"one"};
  expect_throw([&] { Predictor(prefix, card); }, "expected an output of shape (1, 1)");
  card.classes.clear();
  Predictor predictor(prefix, card);
  if (predictor.card().classes.back() != "11") fail("classes without names are numbers");
  expect_throw([] { gluon_resnet::share_processors(2, 1); }, "MXNet is loaded");
  expect_throw([&] { predictor.preprocess("GIF89a"); }, "GIF");
  expect_throw([&] { predictor.logits(std::vector<float>(7)); }, "found 7 values");
  if (predictor.preprocess(read(image)).size() != predictor.input_size()) fail("an input's size");
  const auto best = gluon_resnet::most_probable({1, NAN, 3}, 9);
  if (best.size() != 3 || best[0].first != 2 || best[2].first != 1) fail("not a number is last");
  if (!gluon_resnet::most_probable({}, 5).empty()) fail("the best of nothing");
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) fail("expected a prefix, an image and what to check");
  const std::string what = argv[3];
  (what == "threads" ? threads : what == "reshape" ? reshape : misuse)(argv[1], argv[2]);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "predictor_check: %s\n", error.what());
  return 1;
}
