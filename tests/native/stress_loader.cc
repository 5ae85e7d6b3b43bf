// Loaders under stress: random options, ranks, cancels and damage; batches are compared with what
// one thread makes of the same records.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "loader/batch_loader.h"
#include "scenario.h"
#include "transforms/image_pipeline.h"

namespace gluon_resnet {
namespace {

struct Row {
  std::vector<uint8_t> data;
  std::vector<float> labels;
};
using Rows = std::map<uint64_t, Row>;  // by id; a bad record has none

using SharedBatch = std::shared_ptr<BatchMemory>;
using SharedFiles = std::vector<std::shared_ptr<RecordFile>>;

LoaderOptions draw_options(Scenario* scenario) {
  LoaderOptions options;
  TransformPlan& plan = options.plan;
  plan.crop = static_cast<Crop>(scenario->draw(0, 3));
  plan.size = static_cast<int>(scenario->draw(1, 24));
  plan.resize = scenario->chance(30) ? 0 : plan.size + static_cast<int>(scenario->draw(0, 8));
  plan.scale = {plan.size, plan.size + static_cast<int>(scenario->draw(0, 8))};
  plan.flip = scenario->chance(50);
  if (scenario->chance(50)) plan.contrast = plan.saturation = plan.pca_noise = 0.3f;
  if (scenario->chance(30)) plan.interpolation = static_cast<Interpolation>(scenario->draw(0, 4));
  options.batch_size = static_cast<size_t>(scenario->draw(1, 20));
  options.shuffle = scenario->chance(70);
  options.seed = static_cast<uint64_t>(scenario->draw(0, 99));
  options.threads = static_cast<size_t>(scenario->draw(1, 16));
  options.world_size = scenario->chance(70) ? 1 : static_cast<size_t>(scenario->draw(2, 4));
  options.last_batch = static_cast<LastBatch>(scenario->draw(0, 2));
  options.dtype = static_cast<DType>(scenario->draw(0, 2));
  options.layout = static_cast<Layout>(scenario->draw(0, 1));
  options.skip_errors = scenario->chance(60);
  options.prefetch = static_cast<size_t>(scenario->draw(1, 4));
  if (scenario->chance(40)) {  // too small for all, or not
    options.cache_bytes = static_cast<size_t>(scenario->draw(1, 256)) << 10;
  }
  scenario->choices =
      concat("batch ", options.batch_size, ", threads ", options.threads, ", ranks ",
             options.world_size, ", last ", static_cast<int>(options.last_batch), ", crop ",
             static_cast<int>(plan.crop), ", size ", plan.size, options.shuffle ? ", shuffled" : "",
             options.cache_bytes > 0 ? concat(", cache of ", options.cache_bytes) : "",
             options.skip_errors ? ", skipping" : "");
  return options;
}

// What one thread makes of every record of the files.
Rows make_rows(const std::vector<const StressFile*>& files, const LoaderOptions& options,
               uint64_t epoch) {
  Rows rows;
  ImagePipeline pipeline;
  RecordBuffer buffer;
  const size_t bytes = 3 * element_size(options.dtype) * options.plan.size * options.plan.size;
  uint64_t number = 0;
  for (const StressFile* file : files) {
    for (size_t i = 0; i < file->records->size(); ++i, ++number) {
      try {
        const Record record = file->records->read(i, &buffer);
        if (record.num_labels != 1) continue;
        Row row{std::vector<uint8_t>(bytes), {record.labels[0]}};
        Random random(options.seed, epoch, number);
        pipeline.run(options.plan, record.payload, record.payload_size, &random, options.dtype,
                     options.layout, row.data.data());
        rows.emplace(file->first_id + i, std::move(row));
      } catch (const Error&) {
      }
    }
  }
  return rows;
}

// Every row of a batch is that of the record whose id it has; the real ones are counted.
void check_batch(const BatchMemory& batch, const LoaderOptions& options, const Rows& rows,
                 std::map<uint64_t, int>* seen, const Scenario& scenario) {
  const bool full = options.last_batch != LastBatch::kKeep;
  scenario.require(full ? batch.rows == options.batch_size : batch.rows <= options.batch_size,
                   "a batch has its size");
  scenario.require(batch.pad <= batch.rows && (full || batch.pad == 0),
                   "padding is within a batch");
  const size_t real = batch.rows - batch.pad;
  for (size_t row = 0; row < batch.rows; ++row) {
    const uint8_t* const data = batch.data.get() + row * batch.row_bytes;
    if (real == 0 && options.skip_errors) {  // nothing was there to repeat
      const auto zero = [](uint8_t byte) { return byte == 0; };
      if (std::all_of(data, data + batch.row_bytes, zero)) continue;
    }
    const auto expected = rows.find(batch.ids[row]);
    scenario.require(expected != rows.end(), concat("row ", row, " is of a good record"));
    const Row& wanted = expected->second;
    scenario.require(batch.row_bytes == wanted.data.size() &&
                         std::memcmp(data, wanted.data.data(), batch.row_bytes) == 0,
                     concat("row ", row, " has the pixels of record ", batch.ids[row]));
    scenario.require(batch.labels[row * batch.label_width] == wanted.labels[0],
                     concat("row ", row, " has the label of record ", batch.ids[row]));
    if (row < real && seen != nullptr) ++(*seen)[batch.ids[row]];
  }
}

// The next batch; null where the epoch has ended or a record raised, which is then in `bad`.
SharedBatch take(EpochRun* run, std::multiset<int64_t>* bad, bool* ended, Scenario* scenario) {
  SharedBatch batch;
  while (true) {
    try {
      const EpochRun::Status status = run->next(static_cast<int>(scenario->draw(0, 20)), &batch);
      *ended = status == EpochRun::Status::kEnd;
      if (status != EpochRun::Status::kNotYet) return batch;
    } catch (const Error& error) {
      scenario->require(error.kind == ErrorKind::kRecord || error.kind == ErrorKind::kImage,
                        concat("an error is a record's, not: ", error.what()));
      scenario->require(!error.path.empty() && error.key >= 0 && error.offset >= 0,
                        concat("an error says where: ", error.what()));
      bad->insert(error.key);
      return nullptr;
    }
  }
}

// An epoch of all ranks, taken in step, or as much of it as is not cancelled.
struct Epoch {
  std::map<uint64_t, int> seen;   // real rows, by id
  std::multiset<int64_t> raised;  // keys
  std::vector<SharedBatch> kept;
  std::vector<std::vector<SharedBatch>> taken;  // by rank and batch; null where it was not kept
};

void check_whole_epoch(const Epoch& epoch, const LoaderOptions& options, const Rows& rows,
                       uint64_t num_records, const std::vector<BadRecord>& skipped,
                       const Scenario& scenario) {
  for (const auto& [id, times] : epoch.seen) {
    scenario.require(times == 1, concat("record ", id, " comes once, not ", times, " times"));
  }
  scenario.require(options.skip_errors ? epoch.raised.empty() : skipped.empty(),
                   "a bad record raises or is skipped, never both");
  if (options.last_batch == LastBatch::kDiscard) return;
  if (options.skip_errors) {
    scenario.require(epoch.seen.size() == rows.size(), "every good record comes");
    scenario.require(skipped.size() == num_records - rows.size(),
                     "every bad record is listed once");
  } else {
    scenario.require(rows.size() - epoch.seen.size() <= epoch.raised.size() * options.batch_size,
                     "a bad record costs its batch only");
    scenario.require(!epoch.raised.empty() || rows.size() == num_records, "a bad record is told");
  }
}

// A run that starts in the middle gives what the run from the start gave.
void check_resumed(const std::vector<SharedBatch>& taken, uint64_t number, BatchLoader* loader,
                   Scenario* scenario) {
  std::multiset<int64_t> bad;
  bool ended = false;
  uint64_t at = static_cast<uint64_t>(scenario->draw(0, static_cast<int64_t>(taken.size()) - 1));
  const std::unique_ptr<EpochRun> run = loader->start(number, at);
  for (; at < taken.size(); ++at) {
    const SharedBatch batch = take(run.get(), &bad, &ended, scenario);
    if (!batch || !taken[at]) continue;
    const bool same =
        batch->rows == taken[at]->rows && batch->pad == taken[at]->pad &&
        std::memcmp(batch->data.get(), taken[at]->data.get(), batch->rows * batch->row_bytes) == 0;
    scenario->require(same, "a run that starts in the middle gives the same batches");
  }
}

}  // namespace

void stress_loader(const std::vector<StressFile>& files, Scenario* scenario) {
  LoaderOptions options = draw_options(scenario);
  std::vector<const StressFile*> chosen;
  SharedFiles records;
  for (const StressFile& file : files) {
    if (!scenario->chance(50) && !(chosen.empty() && &file == &files.back())) continue;
    chosen.push_back(&file);
    records.push_back(file.records);
  }
  const auto number = static_cast<uint64_t>(scenario->draw(0, 9));
  const Rows rows = make_rows(chosen, options, number);

  std::vector<std::unique_ptr<BatchLoader>> loaders;
  std::vector<std::unique_ptr<EpochRun>> runs;
  for (options.rank = 0; options.rank < options.world_size; ++options.rank) {
    loaders.push_back(std::make_unique<BatchLoader>(records, options));
    runs.push_back(loaders.back()->start(number, 0));
  }
  const uint64_t num_batches = loaders[0]->num_batches();
  const bool cancelled = scenario->chance(60);
  const auto steps =
      cancelled ? static_cast<uint64_t>(scenario->draw(0, static_cast<int64_t>(num_batches)))
                : num_batches;
  Epoch epoch;
  epoch.taken.resize(runs.size());
  bool ended = false;
  for (uint64_t step = 0; step < steps; ++step) {
    for (size_t rank = 0; rank < runs.size(); ++rank) {
      SharedBatch batch = take(runs[rank].get(), &epoch.raised, &ended, scenario);
      scenario->require(!ended, "every rank has the same number of batches");
      if (batch) check_batch(*batch, options, rows, &epoch.seen, *scenario);
      epoch.taken[rank].push_back(scenario->chance(30) ? std::move(batch) : nullptr);
    }
  }
  if (cancelled && scenario->chance(50)) {
    std::this_thread::sleep_for(std::chrono::microseconds(scenario->draw(0, 2000)));
  }
  if (!cancelled) {
    std::vector<BadRecord> skipped;
    for (size_t rank = 0; rank < runs.size(); ++rank) {
      take(runs[rank].get(), &epoch.raised, &ended, scenario);
      scenario->require(ended, "an epoch ends after its last batch");
      const std::vector<BadRecord> own = runs[rank]->meter()->read().skipped;
      skipped.insert(skipped.end(), own.begin(), own.end());
    }
    check_whole_epoch(epoch, options, rows, loaders[0]->num_records(), skipped, *scenario);
  }
  if (steps > 0 && scenario->chance(40)) {  // while the first run may still be under way
    check_resumed(epoch.taken[0], number, loaders[0].get(), scenario);
  }
  if (scenario->chance(50)) {  // a run outlives its loader, a batch both
    loaders.clear();
    runs.clear();
  } else {
    runs.clear();
    loaders.clear();
  }
  std::thread consumer([&] {  // lets the batches go on another thread
    for (const std::vector<SharedBatch>& batches : epoch.taken) {
      for (const SharedBatch& batch : batches) {
        if (batch) check_batch(*batch, options, rows, nullptr, *scenario);
      }
    }
    epoch.taken.clear();
  });
  consumer.join();
}

void stress_shrinking_file(const StressFile& file, const std::string& folder, Scenario* scenario) {
  LoaderOptions options = draw_options(scenario);
  options.world_size = 1;
  const Rows rows = make_rows({&file}, options, 0);
  const std::string path = concat(folder, "/shrinking-", scenario->number, ".rec");
  std::filesystem::copy_file(file.path, path);
  {
    BatchLoader loader({std::make_shared<RecordFile>(path, file.index_path)}, options);
    const std::unique_ptr<EpochRun> run = loader.start(0, 0);
    const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
    // Whole pages: the kernel clears the rest of a page while another thread may be reading it.
    const int64_t length = scenario->draw(0, size / 4096) * 4096;
    std::thread shrinker([path, length, wait = scenario->draw(0, 3000)] {
      std::this_thread::sleep_for(std::chrono::microseconds(wait));
      require(::truncate(path.c_str(), length) == 0, "a file can be cut");
    });
    std::multiset<int64_t> bad;
    std::map<uint64_t, int> seen;
    for (bool ended = false; !ended;) {
      const SharedBatch batch = take(run.get(), &bad, &ended, scenario);
      if (batch) check_batch(*batch, options, rows, &seen, *scenario);
    }
    shrinker.join();
  }
  std::filesystem::remove(path);
}

}  // namespace gluon_resnet
