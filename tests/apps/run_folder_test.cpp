#include <nlohmann/json.hpp>

#include "tests/apps/program.h"

using namespace muonlab::test;

TEST_CASE("a run folder holds what a run needs and what a reader wants to know") {
  const TempFolder folder;
  const std::string run_folder = folder / "a/new/run";
  run_well(train(run_folder, 20,
                 {"--checkpoint_interval", "5", "--eval_interval", "10", "--log_interval", "4"}));

  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(run_folder))
    if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), run_folder).string());
  std::sort(files.begin(), files.end());
  CHECK(files == std::vector<std::string>{
                     "checkpoints/best.safetensors", "checkpoints/step_00000015.safetensors",
                     "checkpoints/step_00000020.safetensors", "config.toml", "manifest.json",
                     "metrics.csv", "metrics.jsonl", "routes.txt", "tokenizer.json"});

  const auto manifest = nlohmann::json::parse(slurp(run_folder + "/manifest.json"));
  for (const std::string key :
       {"program", "compiler", "cpu", "seed", "initial_weights_sha256", "threads"})
    CHECK(manifest.contains(key));
  CHECK(manifest["data"]["sha256"].get<std::string>().size() == 64);
  CHECK(manifest["data"]["builtin_size"] == 20000);
  CHECK(manifest["data"]["builtin_seed"] == 1);
  CHECK(contains(slurp(run_folder + "/routes.txt"), "blocks.0.attn.qkv.weight"));

  // The two metrics files say the same: a line at 4, 8, 10 (evaluation), 12, 16 and 20.
  std::istringstream json(slurp(run_folder + "/metrics.jsonl")),
      csv(slurp(run_folder + "/metrics.csv"));
  std::string line, row;
  std::getline(csv, row);
  CHECK(row == "step,loss,val_loss,val_loss_whole,lr,grad_norm,tokens_per_s,elapsed_s");
  std::vector<int> steps;
  while (std::getline(json, line)) {
    REQUIRE(std::getline(csv, row));
    const auto object = nlohmann::json::parse(line);
    steps.push_back(object["step"]);
    std::istringstream cells(row);
    std::string step, loss, val;
    std::getline(std::getline(std::getline(cells, step, ','), loss, ','), val, ',');
    CHECK(std::stoi(step) == steps.back());
    CHECK(std::stod(loss) == object["loss"].get<double>());
    CHECK(object.contains("val_loss") == (steps.back() % 10 == 0));
    CHECK(val.empty() == (steps.back() % 10 != 0));
  }
  CHECK(steps == std::vector<int>{4, 8, 10, 12, 16, 20});
}

TEST_CASE("a run is never overwritten without --force") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 4));
  const std::string before = weights_of(run_folder);
  spill(run_folder + "/notes.txt", "mine");
  check_error(run(train(run_folder, 4, {"--seed", "2"})), 2,
              {run_folder, "--resume", "--force", "--out"});
  CHECK(weights_of(run_folder) == before);
  run_well(train(run_folder, 8, {"--seed", "2", "--force"}));
  CHECK(weights_of(run_folder) != before);
  CHECK(!fs::exists(checkpoint(run_folder, 4)));
  CHECK(slurp(run_folder + "/notes.txt") == "mine");  // only a run's own files go
}

TEST_CASE("files of the user's own are never overwritten without --force") {
  const TempFolder folder;
  const std::string own = folder / "proj", text = "the user's own\n";
  fs::create_directories(own + "/checkpoints");
  const auto refused = [&](const std::string& name) {
    spill(own + "/" + name, text);
    check_error(run(train(own, 4)), 2, {own, name, "--force", "--out"});
    CHECK(slurp(own + "/" + name) == text);
    CHECK(!fs::exists(own + "/config.toml"));
  };
  for (const std::string name : {"metrics.csv", "metrics.jsonl", "routes.txt", "tokenizer.json",
                                 "manifest.json", "checkpoints/best.safetensors"}) {
    INFO(name);
    refused(name);
    fs::remove(own + "/" + name);
  }
  // One file says for the others whether a run began here: here it says no.
  spill(own + "/metrics.csv", "");
  refused("manifest.json");
  fs::remove(own + "/manifest.json");
  // Half written checkpoints are removed by their name, not by its end alone.
  spill(own + "/checkpoints/mine.tmp", text);
  run_well(train(own, 4));
  CHECK(slurp(own + "/checkpoints/mine.tmp") == text);
}

TEST_CASE("a run without its config.toml is a run still, and goes on") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 10, {"--checkpoint_interval", "5"}));
  const std::string before = weights_of(run_folder), config = slurp(run_folder + "/config.toml"),
                    metrics = slurp(run_folder + "/metrics.csv");
  fs::remove(run_folder + "/config.toml");
  for (const Arguments& more :
       {Arguments{"--seed", "2"}, Arguments{"--seed", "2", "--resume", run_folder}})
    check_error(run(train(run_folder, 10, more)), 2, {run_folder});
  CHECK(weights_of(run_folder) == before);
  CHECK(fs::exists(checkpoint(run_folder, 5)));
  CHECK(slurp(run_folder + "/metrics.csv") == metrics);
  check_error(run({"train", "--resume", run_folder, "--n_layer", "3"}), 2, {"n_layer is '2'"});

  run_well({"train", "--resume", run_folder});
  CHECK(slurp(run_folder + "/config.toml") == config);
  fs::remove_all(run_folder + "/checkpoints");
  fs::remove(run_folder + "/config.toml");
  check_error(run(train(run_folder, 10)), 2, {"metrics.csv", "metrics.jsonl"});
  CHECK(slurp(run_folder + "/metrics.csv") == metrics);
}

TEST_CASE("what a start that was killed left behind is in nobody's way") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 4));
  const std::string csv = slurp(run_folder + "/metrics.csv"),
                    header = csv.substr(0, csv.find('\n') + 1);
  const auto begin_anew = [&](const std::string& metrics) {
    fs::remove(run_folder + "/config.toml");
    fs::remove_all(run_folder + "/checkpoints");
    spill(run_folder + "/metrics.jsonl", "");
    spill(run_folder + "/metrics.csv", metrics);
    run_well(train(run_folder, 4));
    CHECK(slurp(run_folder + "/metrics.csv").substr(0, header.size() + 2) == header + "4,");
  };
  begin_anew(header);
  // Before the header is whole there is none of the others.
  for (const std::string name : {"routes.txt", "tokenizer.json", "manifest.json"})
    fs::remove(run_folder + "/" + name);
  begin_anew(header.substr(0, 7));
  for (const std::string name : {"routes.txt", "tokenizer.json", "manifest.json"})
    fs::remove(run_folder + "/" + name);
  begin_anew("");
}

TEST_CASE("columns of the metrics are known by their names") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", path = run_folder + "/metrics.csv";
  run_well(train(run_folder, 4));
  const std::string ours = slurp(path);
  // As another version might have written it: another order, and a column that is not known here.
  const std::string others = "step,val_loss,novelty,loss\n1,2.5,77,3.5\n2,,78,3.25\n";
  spill(path, others);
  const auto history = nlohmann::json::parse(run_well({"info", run_folder, "--json"}))["history"];
  REQUIRE(history.size() == 2);
  CHECK(history[0] == nlohmann::json{{"step", 1}, {"loss", 3.5}, {"val_loss", 2.5}});
  CHECK(history[1] == nlohmann::json{{"step", 2}, {"loss", 3.25}});

  // A file has the columns of one version.
  const Arguments resume{"train", "--resume", run_folder, "--steps", "6"};
  check_error(run(resume), 1, {path, "columns", "move it away"});
  CHECK(slurp(path) == others);
  CHECK(fs::exists(checkpoint(run_folder, 4)));
  spill(path, "1,2.5\n");
  check_error(run({"info", run_folder}), 1, {path, "column names"});
  fs::remove(path);
  run_well(resume);
  CHECK(slurp(path).rfind(ours.substr(0, ours.find('\n') + 1) + "6,", 0) == 0);
}

TEST_CASE("two processes do not write to one run folder") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  Program first(train(run_folder, 1000000, {"--checkpoint_interval", "10"}));
  REQUIRE(first.wait_until([&] { return fs::exists(checkpoint(run_folder, 10)); }));
  check_error(run({"train", "--resume", run_folder}), 1, {"another process", run_folder});
  check_error(run(train(run_folder, 4, {"--force"})), 1, {"another process", run_folder});
  run_well({"info", run_folder});  // reading is allowed
  first.send(SIGKILL);             // the lock goes with the process
  first.wait();
  run_well(train(run_folder, 4, {"--force"}));
}

TEST_CASE("without --out each run gets a folder of its own") {
  const TempFolder folder;
  Setup setup;
  setup.folder = folder.path();
  const Arguments command{"train", "--preset", "tiny", "--builtin_size", "20000", "--threads",
                          "1",     "--steps",  "2"};
  run_well(command, setup);
  run_well(command, setup);
  CHECK(fs::exists(folder / "runs/tiny-adamw-1/config.toml"));
  CHECK(fs::exists(folder / "runs/tiny-adamw-2/config.toml"));
}

TEST_CASE("a folder that cannot be written ends in one sentence") {
  const TempFolder folder;
  spill(folder / "file", "not a folder");
  // Below a regular file even root can make nothing.
  check_error(run(train(folder / "file/run", 4)), 1, {"file/run", "Not a directory"});
  check_error(run(train(folder / "file", 4)), 1, {"file"});
  check_error(run(train("/proc/run", 4)), 1, {"/proc/run"});
}

TEST_CASE("in a pipe there are plain lines, and --quiet leaves nothing") {
  const TempFolder folder;
  const std::string out = run_well(train(folder / "plain", 20));
  CHECK(!contains(out, "\x1b"));
  CHECK(!contains(out, "\r"));
  CHECK(contains(out, "step 10/20  loss "));
  CHECK(contains(out, "whole validation split: "));
  CHECK(contains(out, "on average no model gets below"));
  CHECK(contains(out, "over all texts of this grammar: its entropy"));
  CHECK(contains(out, "every parameter"));
  const Outcome quiet = run(train(folder / "quiet", 20, {"--quiet"}));
  CHECK(quiet.code == 0);
  CHECK(quiet.out.empty());
  CHECK(quiet.err.empty());
  CHECK(weights_of(folder / "quiet") == weights_of(folder / "plain"));
}

TEST_CASE("a reader that goes away does not stop a run") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  std::string command = "'" MUONLAB_BINARY "'";
  for (const std::string& argument : train(run_folder, 300)) command += " " + argument;
  REQUIRE(std::system((command + " | head -n 1 > /dev/null").c_str()) == 0);
  CHECK(field(run_well({"info", run_folder, "--json"}), "step") == "300");
}

namespace {

std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0, length = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r') {
      length = 0;
    } else if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) {
      longest = std::max(longest, ++length);
    }
  }
  return longest;
}

}  // namespace

TEST_CASE("info and help fit a narrow terminal, and lose nothing in a pipe") {
  const TempFolder folder;
  Setup setup;
  setup.folder = folder.path();
  run_well(train("run", 20, {"--optimizer", "muon"}), setup);
  const std::string hash = weights_of(folder / "run"), newest = checkpoint("run", 20);
  for (const unsigned short columns : std::vector<unsigned short>{40, 60, 80}) {
    std::string text = run_on_terminal({"info", "run"}, columns, setup).out;
    INFO(text);
    CHECK(contains(text, "parameter "));
    CHECK(contains(text, "  why\r\n"));
    for (const std::string row : {"blocks.1.mlp.proj.weight ", "ln_f.weight "})
      CHECK(contains(text, row));
    // Each row has its rule and the number of its reason.
    const std::size_t row = text.find("blocks.1.attn.qkv.weight ");
    REQUIRE(row != std::string::npos);
    const std::string line = text.substr(row, text.find('\r', row) - row);
    CHECK(contains(line, " muon "));
    const std::string note = line.substr(line.find('['));
    CHECK(contains(text, "\n" + note + " packed q, k, v"));
    CHECK(contains(text, "a wider terminal shows") == (columns < 80));
    // Words that must stay whole for who copies them.
    for (const std::string& whole : {hash, newest}) {
      REQUIRE(contains(text, whole));
      text.erase(text.find(whole), whole.size());
    }
    CHECK(longest_line(text) <= columns);
    CHECK(longest_line(run_on_terminal({"train", "--help"}, columns, setup).out) <= columns);
  }
  const std::string piped = run_well({"info", "run"}, setup);
  CHECK(contains(piped, "seen as"));
  CHECK(contains(piped, "decay  reason\n"));
  CHECK(!contains(piped, "wider terminal"));
}

TEST_CASE("what train, eval and bench say fits a narrow terminal; commands stay whole") {
  const TempFolder folder;
  Setup setup;
  setup.folder = folder.path();
  setup.environment = {{"LC_ALL", "C"}, {"TERM", "xterm"}, {"NO_COLOR", "1"}};
  constexpr unsigned short kColumns = 40;
  const auto show = [&](const Arguments& arguments) {
    std::string text = run_on_terminal(arguments, kColumns, setup).out;
    const std::string clear = "\x1b[K";  // moves nothing
    for (std::size_t at; (at = text.find(clear)) != std::string::npos;)
      text.erase(at, clear.size());
    return text;
  };
  std::string text = show(train("run", 20));
  INFO(text);
  const std::string command = fmt::format("  {} sample run\r\n", MUONLAB_BINARY);
  REQUIRE(contains(text, command));
  text.erase(text.find(command), command.size());
  CHECK(contains(text, "whole validation split: "));
  CHECK(longest_line(text) <= kColumns);
  const std::string eval = show({"eval", "run"});
  INFO(eval);
  CHECK(contains(eval, "left out\r\n"));
  CHECK(longest_line(eval) <= kColumns);
  const std::string bench = show({"bench", "--preset", "tiny", "--steps", "2", "--threads", "1"});
  INFO(bench);
  CHECK(contains(bench, "of which"));
  CHECK(longest_line(bench) <= kColumns);
  // In a pipe each is one line.
  CHECK(count_of(run_well({"eval", "run"}, setup), "\n") == 2);
}

TEST_CASE("on a terminal there is a live line and a curve, as wide as the terminal") {
  const TempFolder folder;
  const std::vector<std::pair<std::string, std::string>> utf8{
      {"LC_ALL", "C.UTF-8"}, {"TERM", "xterm"}, {"NO_COLOR", ""}};
  Setup setup;
  setup.environment = utf8;
  const Outcome wide = run_on_terminal(train(folder / "wide", 60), 100, setup);
  INFO(wide.out);
  CHECK(wide.code == 0);
  CHECK(contains(wide.out, "\rstep 1/60  loss "));
  CHECK(contains(wide.out, "ETA "));
  CHECK(contains(wide.out, "\x1b[1m"));
  CHECK(contains(wide.out, "█"));

  setup.environment = {{"LC_ALL", "C"}, {"TERM", "xterm"}, {"NO_COLOR", "1"}};
  const Outcome plain = run_on_terminal(train(folder / "plain", 60), 100, setup);
  CHECK(contains(plain.out, "\rstep 1/60  loss "));
  CHECK(!contains(plain.out, "\x1b[1m"));
  CHECK(!contains(plain.out, "█"));
  CHECK(contains(plain.out, "|#"));

  const Outcome narrow = run_on_terminal(train(folder / "narrow", 60), 30, setup);
  const std::size_t live = narrow.out.find("\rstep 1/60");
  REQUIRE(live != std::string::npos);
  const std::string line = narrow.out.substr(live + 1, narrow.out.find("\x1b[K", live) - live - 1);
  CHECK(line.size() < 30);
  CHECK(!contains(line, "tokens/s"));
  const std::size_t curve = narrow.out.find(" |#");
  REQUIRE(curve != std::string::npos);
  CHECK(longest_line(narrow.out.substr(curve, narrow.out.find("finished") - curve)) < 30);

  setup.environment = {{"TERM", "dumb"}};
  CHECK(!contains(run_on_terminal(train(folder / "dumb", 20), 100, setup).out, "\x1b"));
}

TEST_CASE("a time limit ends a run well, with its last evaluation") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  const std::string out = run_well(
      train(run_folder, 100000000, {"--time_limit", "0.3", "--json", "--eval_interval", "0"}));
  CHECK(field(out, "status") == "time_limit");
  CHECK(field(out, "val_split") == "whole");
  CHECK(std::stol(field(out, "step")) > 0);
  CHECK(field(run_well({"info", run_folder, "--json"}), "step") == field(out, "step"));
}
