#include "tests/apps/program.h"

using namespace muonlab::test;

TEST_CASE("routes prints the whole table without training") {
  const TempFolder folder;
  const Setup here{.environment = {}, .folder = folder.path()};
  const Arguments call{"routes", "--preset", "tiny", "--optimizer", "muon"};
  const std::string text = run_well(call, here);
  for (const std::string part : {"parameter", "blocks.1.attn.qkv.weight", "3 x (32, 32)",
                                 "packed q, k, v", "tied with the head", "no decay below rank 2"})
    CHECK(contains(text, part));
  CHECK(fs::is_empty(folder.path()));

  const std::string json =
      run_well(call + Arguments{"--route", "kind=embedding: sgd lr*0.5 decay*0", "--aux_lr", "0.5",
                                "--json"},
               here);
  CHECK(count_of(json, "\n") == 1);
  CHECK(contains(json, "\"rule\": \"sgd\", \"seen_as\": \"(64, 32)\", \"lr\": 0.25, \"decay\": 0"));
  CHECK(contains(json, "\"reason\": \"--route kind=embedding"));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("a run is trained, saved and resumed by its routes") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", route = "kind=embedding: sgd lr*0.5";
  run_well(train(run_folder, 2, {"--optimizer", "muon", "--route", route}));
  const std::string table = slurp(run_folder + "/routes.txt");
  CHECK(contains(table, "--route kind=embedding"));
  CHECK(run_well({"routes", "--config", run_folder + "/config.toml", "--vocab_size", "56"}) ==
        table);
  run_well({"train", "--resume", run_folder, "--steps", "3"});
  check_error(run({"train", "--resume", run_folder, "--steps", "4", "--route", ""}), 2,
              {"route is '" + route + "' in the run and '' here"});
}

TEST_CASE("routes that cannot be are refused before anything is made") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  const auto refused = [&](const Arguments& more, const Arguments& parts) {
    check_error(run(train(run_folder, 2, more)), 2, parts);
    CHECK(!fs::exists(run_folder));
  };
  refused({"--route", "kind=embeding: adamw"}, {"did you mean 'embedding'?"});
  refused({"--route", "name=lstm*: adamw"}, {"'name=lstm*' matches no parameter"});
  refused({"--optimizer", "muon", "--aux", "muon"}, {"--aux muon", "every kind of parameter"});
  // An option of a rule that nothing goes to.
  refused({"--sgd.momentum", "0.5"}, {"--sgd.momentum", "no parameter goes to sgd"});
  CHECK(run(train(folder / "b", 2,
                  {"--sgd.momentum", "0.5", "--aux_lr", "0.01", "--route", "kind=embedding: sgd"}))
            .err.empty());
}
