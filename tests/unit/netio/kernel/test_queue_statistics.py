from pathlib import Path

from tcpcryptd.netio.kernel.queue_statistics import QueueStatistics, QueueStatisticsReader, read_queue_statistics

TEXT = "   69   8750     3 2 65531     1     2      100  1\n   70 3831926348     0 2 65531     0     0        0  1\n"


def test_reads_all_queues(tmp_path: Path) -> None:
    file = tmp_path / "nfnetlink_queue"
    file.write_text(TEXT)
    statistics = read_queue_statistics(file)
    assert statistics[69] == QueueStatistics(69, 8750, 3, 65531, 1, 2, 100)
    assert statistics.keys() == {69, 70}


def test_no_queues_without_the_kernels_support(tmp_path: Path) -> None:
    assert read_queue_statistics(tmp_path / "missing") == {}


def test_reader_reads_again(tmp_path: Path) -> None:
    file = tmp_path / "nfnetlink_queue"
    file.write_text("")
    reader = QueueStatisticsReader(file)
    assert reader.read() == {}
    file.write_text(TEXT)
    assert reader.read()[70].port_id == 3831926348
    reader.close()
