// Threads that use one epoch or one packer at once, and in the middle of that end it: each call
// does what it should or throws kUsage, and nothing hangs.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "images/encoder.h"
#include "loader/batch_loader.h"
#include "packing/packer.h"
#include "scenario.h"

namespace gluon_resnet {
namespace {

using std::chrono::microseconds;

// Runs all of them side by side.
void side_by_side(const std::vector<std::function<void()>>& functions) {
  std::vector<std::thread> threads;
  for (const auto& function : functions) threads.emplace_back(function);
  for (std::thread& thread : threads) thread.join();
}

// Whether the call was not refused.
bool allowed(const Scenario& scenario, const std::function<void()>& call) {
  try {
    call();
    return true;
  } catch (const Error& error) {
    scenario.require(error.kind == ErrorKind::kUsage,
                     concat("a rival is refused as a misuse, not: ", error.what()));
    return false;
  }
}

}  // namespace

void stress_epoch_rivals(const StressFile& whole_file, Scenario* scenario) {
  LoaderOptions options;
  options.plan.size = 16;
  options.plan.crop = Crop::kRandomResized;
  options.batch_size = static_cast<size_t>(scenario->draw(1, 6));
  options.threads = static_cast<size_t>(scenario->draw(1, 8));
  options.prefetch = static_cast<size_t>(scenario->draw(1, 3));
  BatchLoader loader({whole_file.records}, options);
  const std::unique_ptr<EpochRun> run = loader.start(0, 0);
  std::atomic<uint64_t> taken{0};
  std::atomic<bool> over{false};
  const auto consume = [&] {
    while (!over) {
      std::shared_ptr<BatchMemory> batch;
      EpochRun::Status status = EpochRun::Status::kNotYet;
      if (!allowed(*scenario, [&] { status = run->next(5, &batch); })) {
        std::this_thread::yield();
      }
      if (status == EpochRun::Status::kBatch) ++taken;
      if (status == EpochRun::Status::kEnd) over = true;
    }
  };
  const bool closed = scenario->chance(70);
  const microseconds wait(scenario->draw(0, 3000));
  const auto close = [&] {
    if (!closed) return;
    std::this_thread::sleep_for(wait);
    run->close();
    over = true;
  };
  side_by_side({consume, consume, consume, close, close});
  scenario->require(closed || taken == loader.num_batches(), "every batch is taken once");
}

void stress_packer_rivals(const std::string& folder, Scenario* scenario) {
  Random random(0, 0, scenario->number);
  std::vector<uint8_t> encoded;
  Encoder().jpeg(draw_picture(&random), 90, &encoded);
  const std::string name = concat(folder, "/rivals-", scenario->number);
  PackOptions options;
  options.threads = static_cast<size_t>(scenario->draw(1, 4));
  {
    const auto convert = [](void*, const uint8_t*, size_t, Image*, std::string*) {};
    Packer packer(name + ".rec", name + ".idx", options, convert, nullptr);
    const auto submit = [&] {
      for (int64_t key = 0;; ++key) {
        Picture picture;
        picture.key = key;
        picture.labels = {0};
        picture.content = Picture::Content::kBytes;
        picture.bytes = encoded;
        if (!allowed(*scenario, [&] { packer.submit(&picture, 5); })) return;
        packer.done();
      }
    };
    const microseconds wait(scenario->draw(0, 3000));
    const auto close = [&] {
      std::this_thread::sleep_for(wait);
      packer.close();
    };
    side_by_side({submit, submit, close, close});
  }
  for (const char* ending : {".rec", ".idx"}) std::filesystem::remove(name + ending);
}

}  // namespace gluon_resnet
